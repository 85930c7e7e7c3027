"""What the tests of `astr extend` share: a folder of photos, a matching step by the simulator, figures of a model."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.images.geometry import matched_size
from astr_cli.matching.run.events import MatchSummary
from astr_cli.options.matching import MatchOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import camera_centres
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

from .conftest import Scene


class Place(NamedTuple):
    """A scene, its folder, and the pairs of each call of the matching step."""

    scene: Scene
    folder: Path
    calls: list[list[tuple[str, str]]]

    @property
    def out(self) -> str:
        return str(self.folder / "out")

    @property
    def photos(self) -> str:
        return str(self.folder / "photos")

    def add(self, *names: str) -> None:
        (self.folder / "photos").mkdir(exist_ok=True)
        for name in names:
            shutil.copy(self.folder / "all" / name, self.folder / "photos" / name)


def stand_in(
    scene: Scene, calls: list[list[tuple[str, str]]], failing: Collection[tuple[str, str]] = ()
) -> Callable[[MatchOptions, Any], MatchSummary]:
    """A matching step that writes what the simulator finds for the listed pairs; none for photos of no scene, and
    nothing for pairs that fail.
    """

    def match(options: MatchOptions, listener: Any) -> MatchSummary:
        pairs = [(pair.name0, pair.name1) for pair in read_pairs(options.pairs).pairs]
        calls.append(pairs)
        names = scene.names
        found = {(names[a], names[b]): each for (a, b), each in zip(scene.pairs, scene.matches, strict=True)}
        sizes = ((512, 384), (512, 384)), (matched_size(512, 384, scene.long_side),) * 2
        entries = [
            MatchEntry(*pair, *sizes[0], found.get(pair) or nonsense(), *sizes[1])
            for pair in sorted(pairs)
            if pair not in failing
        ]
        images = "../photos" if options.out.parent.name == "out" else "../../photos"
        write_matches(options.out, [("images", images), ("long_side", str(scene.long_side))], entries)
        return MatchSummary(options.out, len(pairs), len(pairs), 0, tuple(failing), 1, 6, 0, 0, 1.0)

    return match


def nonsense() -> PairMatches:
    random = np.random.default_rng(0)
    points = (random.random((2, 300, 2)) * (500, 370)).astype(np.float32)
    return PairMatches(points[0], points[1], np.ones(300, np.float32), np.zeros(300, np.uint8))


def poses(folder: Path) -> dict[str, np.ndarray]:
    model = read_model(folder / "sparse" / "0")
    return {model.image(number).name: model.image(number).cam_from_world().matrix() for number in model.reg_image_ids()}


def error_of(folder: Path, scene: Scene) -> float:
    centres = camera_centres(folder / "sparse" / "0")
    return centre_error(np.array(list(centres.values())), np.array([scene.centres[name] for name in centres]))
