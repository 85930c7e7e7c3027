"""Rendered scenes of held-out photos, written as benchmarks for `astr eval`. Settings are chosen on them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from astr_cli.errors import AstrError
from astr_cli.evaluate.metrics import Array
from astr_cli.files import check_output_folder, write_whole
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.photometric import photometric
from astr_cli.train.photos import PhotoSet, load_photos
from astr_cli.train.scene_mix import MANY_PHOTOS, ONE_PHOTO, PHOTOS_OF_A_STAGE
from astr_cli.train.supervision import centres, supervise

PAIRS = 96  # per kind; the standard error of AUC@10 is then about 4 points (8 with 24 pairs)
SIZE = (480, 640)
LARGE = (960, 1280)  # of kind zoom-large
SEED = 1_987_654_321  # far from all training seeds and from those of validation.py
DIFFICULTY = 0.8
LIGHT = 0.6
ZOOM = 2.0  # smallest scale ratio of the pairs of kind zoom
LEAST = 150  # fewest true matches of a pair, so that it can be solved
POSED = ("relief", "rooms", "facades")  # kinds of pairs with a pose; a single plane does not determine it
JPEG_QUALITY = 95


class Drawn(NamedTuple):
    """A scene of the benchmark, and the values to render it again."""

    kind: str
    seed: int
    scene: ScenePair  # of SIZE


def write_validation(photos: Path, target: Path, echo: Callable[[str], None], pairs: int = PAIRS) -> None:
    """Write target/KIND, of `pairs` pairs each, for planes, relief, rooms, facades and zoom. Raises AstrError.

    zoom-large holds the scenes of zoom, rendered at LARGE. The first pairs are the same for any number of pairs.
    """
    check_output_folder(target, "--write-validation")
    held_out = load_photos(photos, validation=True)
    if target.is_dir() and any(target.iterdir()):
        raise AstrError(f"{target}: contains other files; give an empty or new folder with --write-validation")
    try:
        for kind in POSED:
            folder = _PoseWriter(target / kind)
            for drawn in _draw(held_out, (kind,), 1.0, pairs):
                folder.add(drawn.scene)
            folder.finish(echo)
        _write_zoom(held_out, target, pairs, echo)
        planes = (drawn.scene for drawn in _draw(held_out, ("planes",), 1.0, pairs))
        _write_homographies(target / "planes", planes)
        echo(str(target / "planes"))
    except OSError as error:
        raise AstrError(f"{target}: cannot be written ({error.strerror}); choose another --write-validation") from None


def _draw(photos: PhotoSet, kinds: tuple[str, ...], zoom: float, pairs: int) -> Iterator[Drawn]:
    """`pairs` scenes of the kinds in turn, with a median scale ratio of at least `zoom` in one direction."""
    number = found = 0
    while found < pairs:
        kind, seed = kinds[number % len(kinds)], SEED + number
        scene = _scene(photos, kind, seed, SIZE)
        number += 1
        truth = supervise(scene)
        if len(truth.ratios) < LEAST or float(truth.ratios.log().median().abs()) < np.log(zoom):
            continue
        if kinds == ("planes",) and not _before_the_horizon(_homography(scene)):
            continue
        found += 1
        yield Drawn(kind, seed, scene)


def _scene(photos: PhotoSet, kind: str, seed: int, size: tuple[int, int]) -> ScenePair:
    """The scene of a seed at `size` (height, width); surfaces and cameras are the same at all sizes of one shape."""
    generator = torch.Generator().manual_seed(seed)
    if kind in ONE_PHOTO:
        scene = ONE_PHOTO[kind](photos.crops(1, 2 * size[1], generator), size, generator, DIFFICULTY, False)
    else:
        crops = photos.crops(PHOTOS_OF_A_STAGE, size[1], generator)
        scene = MANY_PHOTOS[kind](crops[None, :, 0], size, generator, DIFFICULTY, False)
    return scene._replace(
        image0=photometric(scene.image0, generator, LIGHT), image1=photometric(scene.image1, generator, LIGHT)
    )


def _write_zoom(photos: PhotoSet, target: Path, pairs: int, echo: Callable[[str], None]) -> None:
    small = _PoseWriter(target / "zoom")
    # JPEG, because large photos with noise are several times larger in PNG.
    large = _PoseWriter(target / "zoom-large", ".jpg")
    for drawn in _draw(photos, POSED, ZOOM, pairs):
        small.add(drawn.scene)
        large.add(_scene(photos, drawn.kind, drawn.seed, LARGE))
    small.finish(echo)
    large.finish(echo)


class _PoseWriter:
    """Writes pairs with poses into a folder: each photo immediately, gt.json and pairs.txt at the end."""

    def __init__(self, folder: Path, suffix: str = ".png") -> None:
        self._folder = folder
        self._suffix = suffix
        self._views: dict[str, object] = {}
        self._lines: list[str] = []

    def add(self, scene: ScenePair) -> None:
        """Writes the photos of the next pair."""
        names = _write_images(self._folder, len(self._lines), scene, self._suffix)
        self._lines.append(" ".join(names))
        poses = (np.eye(4), scene.pose[0].double().numpy())
        cameras = zip(names, (scene.intrinsics0, scene.intrinsics1), poses, strict=True)
        height, width = scene.depth0.shape[1:]
        for name, intrinsics, pose in cameras:
            self._views[name] = {
                "K": intrinsics[0].tolist(),
                "R": pose[:3, :3].tolist(),
                # x = K (R X + t)
                "t": pose[:3, 3].tolist(),
                "size": [width, height],
            }

    def finish(self, echo: Callable[[str], None]) -> None:
        """Writes the ground truth and prints the folder."""
        truth = json.dumps({"type": "pose", "images": self._views}, indent=1)
        write_whole(self._folder / "gt.json", truth)
        write_whole(self._folder / "pairs.txt", "\n".join(self._lines) + "\n")
        echo(str(self._folder))


def _write_homographies(folder: Path, pairs: Iterator[ScenePair]) -> None:
    entries = []
    for number, scene in enumerate(pairs):
        name0, name1 = _write_images(folder, number, scene, ".png")
        entries.append({"im0": name0, "im1": name1, "H": _homography(scene).tolist()})
    write_whole(folder / "gt.json", json.dumps({"type": "homography", "pairs": entries}, indent=1))


def _homography(scene: ScenePair) -> Array:
    """H of a plane with x1 ~ H x0, from the true matches of its cells."""
    truth = supervise(scene)
    width = SIZE[1] // 8
    points0 = centres(truth.cells0, width)
    points1 = centres(truth.cells1, width) + truth.offsets1
    found, _ = cv2.findHomography(points0.double().numpy(), points1.double().numpy(), 0)
    return np.asarray(found, np.float64)


def _before_the_horizon(homography: Array) -> bool:
    """Whether H maps all corners of the first image in front of the horizon of the second one."""
    corners = np.array([(x, y, 1) for x in (0, SIZE[1] - 1) for y in (0, SIZE[0] - 1)], np.float64)
    depth = corners @ homography[2]
    return bool((depth * depth[0] > 0).all())


def _write_images(folder: Path, number: int, scene: ScenePair, suffix: str) -> tuple[str, str]:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = f"{number:03d}a{suffix}", f"{number:03d}b{suffix}"
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
    for name, image in zip(names, (scene.image0, scene.image1), strict=True):
        pixels = (image[0, 0] * 255).round().byte().numpy()
        write_whole(folder / "images" / name, cv2.imencode(suffix, pixels, quality)[1].tobytes())
    return names
