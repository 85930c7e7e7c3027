"""`astr extend`: new photos in a finished reconstruction; what was there stays, and only new pairs are matched."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.matching.run.events import MatchSummary
from astr_cli.options.matching import MatchOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm import reconstruct as reconstruct_module
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.database.keypoints import read_points
from astr_cli.sfm.extension import extend as module
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import camera_centres
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

from .conftest import Scene, arc, make_scene

NAMES = tuple(f"{letter}.png" for letter in "abcdefg")
FIRST = 5  # photos of the first run
COMMAND = ["--camera-mode", "single", "--long-side", "320", "--no-report"]


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
        for name in names:
            shutil.copy(self.folder / "all" / name, self.folder / "photos" / name)


@pytest.fixture(scope="session")
def seven() -> Scene:
    return make_scene(
        NAMES,
        arc(7, (512, 384), 480),
        list(itertools.combinations(range(7), 2)),
        *(320, 9.0),
        coarse=300,
        outliers=0.05,
    )


def stand_in(scene: Scene, calls: list[list[tuple[str, str]]]) -> Callable[[MatchOptions, Any], MatchSummary]:
    """A matching step that writes what the simulator finds for the listed pairs; none for photos of no scene."""

    def match(options: MatchOptions, listener: Any) -> MatchSummary:
        pairs = [(pair.name0, pair.name1) for pair in read_pairs(options.pairs).pairs]
        calls.append(pairs)
        known = dict(zip(scene.pairs, zip(scene.matches, strict=True), strict=True))
        entries = []
        for a, b in sorted(pairs):
            numbers = [NAMES.index(name) if name in NAMES else -1 for name in (a, b)]
            found = known[numbers[0], numbers[1]][0] if min(numbers) >= 0 else nonsense()
            entries.append(entry_of(a, b, found))
        images = "../photos" if options.out.parent.name == "out" else "../../photos"
        write_matches(options.out, [("images", images), ("long_side", "320")], entries)
        return MatchSummary(options.out, len(pairs), len(pairs), 0, (), 1, 6, 0, 0, 1.0)

    return match


def entry_of(a: str, b: str, found: PairMatches) -> MatchEntry:
    return MatchEntry(a, b, (512, 384), (512, 384), found, (320, 256), (320, 256))


def nonsense() -> PairMatches:
    random = np.random.default_rng(0)
    points = (random.random((2, 300, 2)) * (500, 370)).astype(np.float32)
    return PairMatches(points[0], points[1], np.ones(300, np.float32), np.zeros(300, np.uint8))


@pytest.fixture
def place(seven: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A finished reconstruction of the first photos."""
    calls: list[list[tuple[str, str]]] = []
    for each in (reconstruct_module, module):
        monkeypatch.setattr(each, "match_pairs", stand_in(seven, calls))
    made = Place(seven, tmp_path, calls)
    seven.write_photos(tmp_path / "all")
    (tmp_path / "photos").mkdir()
    made.add(*NAMES[:FIRST])
    assert run(["reconstruct", made.photos, "--out", made.out, *COMMAND]) == 0
    return made


def poses(folder: Path) -> dict[str, np.ndarray]:
    model = read_model(folder / "sparse" / "0")
    return {model.image(number).name: model.image(number).cam_from_world().matrix() for number in model.reg_image_ids()}


def error_of(folder: Path, scene: Scene) -> float:
    centres = camera_centres(folder / "sparse" / "0")
    return centre_error(np.array(list(centres.values())), np.array([scene.centres[name] for name in centres]))


def test_what_was_there_stays_and_only_new_pairs_are_matched(place: Place, capfd: Any) -> None:
    """In two steps, and as good as at once."""
    out = place.folder / "out"
    before, stood = read_points(out / "database.db"), poses(out)
    verified = read_existing(out / "database.db").geometries
    place.add("f.png")
    assert run(["extend", place.out, place.photos]) == 0
    assert "1 of 1 new photo registered by 5 new pairs" in capfd.readouterr().out
    place.add("g.png")
    assert run(["extend", place.out, place.photos]) == 0
    assert [len(pairs) for pairs in place.calls] == [10, 5, 6]
    assert all("g.png" in pair for pair in place.calls[-1])
    after, stands = read_points(out / "database.db"), poses(out)
    for name, points in before.items():
        assert np.array_equal(after[name][: len(points)], points)
        assert np.allclose(stands[name], stood[name], atol=1e-9)
    assert len(after) == len(stands) == 7
    held = read_existing(out / "database.db")
    assert verified <= held.geometries and held.pairs == held.geometries and len(held.pairs) == 21
    assert len({image.camera for image in held.images.values()}) == 1
    with MatchesFile(out / "matches.h5") as file:
        assert len(file.pairs()) == 21 and file.attributes["images"] == "../photos"
    assert len(read_pairs(out / "pairs.txt").pairs) == 21
    assert run(["extend", place.out, place.photos]) == 0
    assert "nothing to do" in capfd.readouterr().out
    error = error_of(out, place.scene)
    shutil.rmtree(out)
    assert run(["reconstruct", place.photos, "--out", place.out, *COMMAND]) == 0
    at_once = error_of(out, place.scene)
    print(error, at_once)
    assert error <= max(1.3 * at_once, 1e-3)
