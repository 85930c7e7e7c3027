"""Rendered scenes of held-out photos, written as benchmarks that `astr eval` reads: what settings are chosen on."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from astr_cli.errors import AstrError
from astr_cli.evaluate.metrics import Array
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.photometric import photometric
from astr_cli.train.photos import PhotoSet, load_photos
from astr_cli.train.scene_mix import MANY_PHOTOS, ONE_PHOTO, PHOTOS_OF_A_STAGE
from astr_cli.train.supervision import centres, supervise

PAIRS = 24  # of each kind
SIZE = (480, 640)
SEED = 1_987_654_321  # far from any training seed, and from those of the curve's pairs
DIFFICULTY = 0.8
LIGHT = 0.6
ZOOM = 2.0  # least scale ratio of the pairs of kind zoom
LEAST = 150  # true matches of a pair: it can be solved
POSED = ("relief", "rooms", "facades")  # kinds whose pairs have a pose; a plane alone leaves it undetermined


def write_validation(photos: Path, target: Path, echo: Callable[[str], None]) -> None:
    """Write target/KIND for planes, relief, rooms, facades and zoom (of those with a pose). Raises AstrError."""
    held_out = load_photos(photos, validation=True)
    try:
        for kind in POSED:
            _write_poses(target / kind, _pairs(held_out, (kind,), 1.0))
            echo(str(target / kind))
        _write_poses(target / "zoom", _pairs(held_out, POSED, ZOOM))
        _write_homographies(target / "planes", _pairs(held_out, ("planes",), 1.0))
    except OSError as error:
        raise AstrError(f"{target}: cannot be written ({error.strerror}); choose another --write-validation") from None
    echo(f"{target / 'zoom'}\n{target / 'planes'}")


def _pairs(photos: PhotoSet, kinds: tuple[str, ...], zoom: float) -> Iterator[ScenePair]:
    """PAIRS pairs of the kinds in turn, whose median scale ratio is at least `zoom` one way or the other."""
    number = found = 0
    while found < PAIRS:
        scene = _scene(photos, kinds[number % len(kinds)], SEED + number)
        number += 1
        truth = supervise(scene)
        if len(truth.ratios) < LEAST or float(truth.ratios.log().median().abs()) < np.log(zoom):
            continue
        if kinds == ("planes",) and not _before_the_horizon(_homography(scene)):
            continue
        found += 1
        yield scene


def _scene(photos: PhotoSet, kind: str, seed: int) -> ScenePair:
    generator = torch.Generator().manual_seed(seed)
    if kind in ONE_PHOTO:
        scene = ONE_PHOTO[kind](photos.crops(1, 2 * SIZE[1], generator), SIZE, generator, DIFFICULTY, False)
    else:
        crops = photos.crops(PHOTOS_OF_A_STAGE, SIZE[1], generator)
        scene = MANY_PHOTOS[kind](crops[None, :, 0], SIZE, generator, DIFFICULTY, False)
    return scene._replace(
        image0=photometric(scene.image0, generator, LIGHT), image1=photometric(scene.image1, generator, LIGHT)
    )


def _write_poses(folder: Path, pairs: Iterator[ScenePair]) -> None:
    views, lines = {}, []
    for number, scene in enumerate(pairs):
        names = _write_images(folder, number, scene)
        lines.append(" ".join(names))
        poses = (np.eye(4), scene.pose[0].double().numpy())
        cameras = zip(names, (scene.intrinsics0, scene.intrinsics1), poses, strict=True)
        for name, intrinsics, pose in cameras:
            views[name] = {
                "K": intrinsics[0].tolist(),
                "R": pose[:3, :3].tolist(),
                # x = K (R X + t)
                "t": pose[:3, 3].tolist(),
                "size": [SIZE[1], SIZE[0]],
            }
    (folder / "gt.json").write_text(json.dumps({"type": "pose", "images": views}, indent=1))
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")


def _write_homographies(folder: Path, pairs: Iterator[ScenePair]) -> None:
    entries = []
    for number, scene in enumerate(pairs):
        name0, name1 = _write_images(folder, number, scene)
        entries.append({"im0": name0, "im1": name1, "H": _homography(scene).tolist()})
    (folder / "gt.json").write_text(json.dumps({"type": "homography", "pairs": entries}, indent=1))


def _homography(scene: ScenePair) -> Array:
    """H with x1 ~ H x0 of a plane, from the true matches of its cells."""
    truth = supervise(scene)
    width = SIZE[1] // 8
    points0 = centres(truth.cells0, width)
    points1 = centres(truth.cells1, width) + truth.offsets1
    found, _ = cv2.findHomography(points0.double().numpy(), points1.double().numpy(), 0)
    return np.asarray(found, np.float64)


def _before_the_horizon(homography: Array) -> bool:
    """Whether all corners of the first image have a place in the second one's plane."""
    corners = np.array([(x, y, 1) for x in (0, SIZE[1] - 1) for y in (0, SIZE[0] - 1)], np.float64)
    depth = corners @ homography[2]
    return bool((depth * depth[0] > 0).all())


def _write_images(folder: Path, number: int, scene: ScenePair) -> tuple[str, str]:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = f"{number:03d}a.png", f"{number:03d}b.png"
    for name, image in zip(names, (scene.image0, scene.image1), strict=True):
        pixels = (image[0, 0] * 255).round().byte().numpy()
        (folder / "images" / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return names
