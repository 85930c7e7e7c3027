"""Contact sheets that show the training data, one for each kind of scene."""

import colorsys
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder, write_whole
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.overlap import overlap
from astr_cli.scenes.photometric import photometric
from astr_cli.train.photos import PhotoSet, load_photos
from astr_cli.train.scene_mix import (
    MANY_PHOTOS,
    ONE_PHOTO,
    RecordingFolders,
    Recordings,
    SceneMix,
    load_recordings,
    scene_of,
)
from astr_cli.train.supervision import Supervision, centres, supervise

Canvas = npt.NDArray[np.uint8]
PAIRS = 6  # per sheet; the upper half as rendered, the lower half with photometric changes
SIDE = 256
ZOOM = 5 / 4
DRAWN = 14  # true matches per pair
SEED = 20
CAPTION = 16


def write_contact_sheets(photos: Path, target: Path, folders: RecordingFolders, echo: Callable[[str], None]) -> None:
    """Draw target/KIND.png for every kind: both views, both depths, some true matches. Raises AstrError."""
    check_output_folder(target, "--contact-sheet")
    photo_set = load_photos(photos, validation=False)
    recordings = load_recordings(folders)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstrError(f"{target}: cannot be created ({error.strerror}); choose another --contact-sheet") from None
    paths = {
        kind: target / f"{kind}.png"
        for kind in (*ONE_PHOTO, *MANY_PHOTOS, *recordings, *(["lifted"] if "rgbd" in recordings else []))
    }
    for path in paths.values():
        if os.path.lexists(path):
            raise AstrError(f"{path}: already exists; remove it, or choose another --contact-sheet")
    for kind, path in paths.items():
        written, data = cv2.imencode(".png", contact_sheet(kind, photo_set, recordings))
        try:
            write_whole(path, data.tobytes() if written else b"")
        except OSError as error:
            raise AstrError(f"{path}: cannot be written ({error.strerror}); choose another --contact-sheet") from None
        echo(str(path))


def contact_sheet(kind: str, photos: PhotoSet, recordings: Recordings, seed: int = SEED) -> Canvas:
    """PAIRS pairs, one below the other, (H, W, 3) BGR."""
    generator = torch.Generator().manual_seed(seed)
    plain = PAIRS - PAIRS // 2
    rows = []
    for count, light in ((plain, 0.0), (PAIRS - plain, 1.0)):
        mix = SceneMix(batch=count, side=SIDE)
        scene = scene_of(kind, photos, recordings, mix, generator, torch.device("cpu"), mix.difficulty)
        if light:
            scene = scene._replace(
                image0=photometric(scene.image0, generator, mix.light),
                image1=photometric(scene.image1, generator, mix.light),
            )
        truth = supervise(scene)
        rows += [_row(scene, truth, index) for index in range(count)]
    return np.concatenate(rows)


def _row(scene: ScenePair, truth: Supervision, index: int) -> Canvas:
    """One pair: image0, image1 with numbered true matches, depth0, depth1, and a line of figures above."""
    images = [_zoomed(image[index, 0].numpy() * 255) for image in (scene.image0, scene.image1)]
    panels = [cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) for image in images]
    panels += [_depth_colours(depth[index].numpy()) for depth in (scene.depth0, scene.depth1)]
    own = truth.batch == index
    cells0, cells1 = truth.cells0[own], truth.cells1[own]
    width = scene.depth0.shape[2] // 8
    points0 = centres(cells0, width).numpy()
    points1 = (centres(cells1, scene.depth1.shape[2] // 8) + truth.offsets1[own]).numpy()
    chosen = np.linspace(0, len(points0) - 1, min(DRAWN, len(points0))).astype(int)
    for number, row in enumerate(chosen):
        colour = tuple(255 * value for value in colorsys.hsv_to_rgb(number / DRAWN, 1, 1))
        for panel, point in zip(panels, (points0[row], points1[row]), strict=False):
            x, y = (round(float(value + 0.5) * ZOOM - 0.5) for value in point)
            cv2.circle(panel, (x, y), 4, colour, 1, cv2.LINE_AA)
            cv2.putText(panel, str(number), (x + 5, y - 3), cv2.FONT_HERSHEY_PLAIN, 0.8, colour, 1, cv2.LINE_AA)
    caption = np.zeros((CAPTION, sum(panel.shape[1] for panel in panels), 3), np.uint8)
    share = float(overlap(ScenePair(*(part[index : index + 1] for part in scene)))[0])
    ratio = float(truth.ratios[own].median()) if len(points0) else 1.0
    text = f"overlap {share:.2f}   scale ratio {ratio:.2f}   {len(points0)} true matches"
    cv2.putText(caption, text, (4, 12), cv2.FONT_HERSHEY_PLAIN, 0.9, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate((caption, np.concatenate(panels, axis=1)))


def _depth_colours(depth: npt.NDArray[np.float32]) -> Canvas:
    """Near is red, far is blue, unknown is black."""
    known = depth > 0
    inverse = np.where(known, 1 / np.maximum(depth, 1e-6), 0)
    low, high = (float(np.percentile(inverse[known], p)) for p in (1, 99)) if known.any() else (0.0, 1.0)
    scaled = np.clip((inverse - low) / max(high - low, 1e-6), 0, 1) * 255
    colours = cv2.applyColorMap(_zoomed(scaled), cv2.COLORMAP_TURBO)
    colours[_zoomed(known * 255.0) < 128] = 0
    return np.asarray(colours, np.uint8)


def _zoomed(values: npt.NDArray[np.floating]) -> Canvas:
    side = int(values.shape[1] * ZOOM), int(values.shape[0] * ZOOM)
    return np.asarray(cv2.resize(values.astype(np.float32), side).clip(0, 255).round(), np.uint8)
