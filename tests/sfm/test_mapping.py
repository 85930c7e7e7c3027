"""Down to a model: the cameras come out where they are."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.matching import FailedPair, MatchOptions, MatchSummary
from astr_cli.sfm import (
    CameraOptions,
    ImportOptions,
    MappingError,
    camera_centres,
    centre_error,
    import_matches,
    map_database,
)
from astr_cli.sfm import reconstruct as module
from astr_cli.sfm.colmap import pycolmap


def error_of(model: Path, truth: dict[str, np.ndarray]) -> float:
    centres = camera_centres(model)
    return centre_error(np.array(list(centres.values())), np.array([truth[name] for name in centres]))


def test_a_simulated_scene_is_mapped(workplace: Path, scene: Any) -> None:
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    old = workplace / "3"
    old.mkdir()
    (old / "points3D.bin").touch()
    (workplace / "7").mkdir()
    model = map_database(workplace / "db.db", workplace / "photos", workplace)
    assert model.registered == scene.names
    assert (model.missing, model.models, model.images) == ((), 1, 6)
    assert model.points >= 500
    assert model.mean_track > 3
    assert model.reprojection_error < 1
    assert error_of(workplace / "0", scene.centres) < 0.01
    # Models of an earlier run go; what is not a model stays.
    assert not old.exists()
    assert (workplace / "7").exists()
    points = (workplace / "0" / "points.ply").read_bytes()
    assert f"element vertex {model.points}".encode() in points
    assert sorted(path.name for path in workplace.iterdir()) == ["0", "7", "db.db", "matches.h5", "photos"]


def test_no_model_is_an_error_with_its_own_code(workplace: Path, scene: Any) -> None:
    weak = [type(m)(m.keypoints0[:3], m.keypoints1[:3], m.scores[:3], m.reference[:3]) for m in scene.matches]
    type(scene)(scene.names, scene.cameras, scene.pairs, tuple(weak), scene.long_side).write(workplace / "matches.h5")
    summary = import_matches(ImportOptions(workplace / "db.db"))
    assert "no pair passed" in summary.warnings[-1]
    with pytest.raises(MappingError, match="no model came out of 6 images") as caught:
        map_database(workplace / "db.db", workplace / "photos", workplace)
    assert caught.value.exit_code == 3
    assert sorted(path.name for path in workplace.iterdir()) == ["db.db", "matches.h5", "photos"]


def stand_in(scene: Any, calls: list[MatchOptions]) -> Callable[[MatchOptions, Any], MatchSummary]:
    """A matching step that writes what the simulator found, and notes its options."""

    def match(options: MatchOptions, listener: Any) -> MatchSummary:
        calls.append(options)
        scene.write(options.out)
        failed = (FailedPair("a.png", "z.png", "broke"),) if options.overwrite else ()
        return MatchSummary(options.out, 15, 15, 0, failed, 1, 6, 0, 0, 1.0)

    return match


@pytest.fixture
def matcher(scene: Any, monkeypatch: pytest.MonkeyPatch) -> list[MatchOptions]:
    """Puts the simulator in the place of the matching step; the options of every call."""
    calls: list[MatchOptions] = []
    monkeypatch.setattr(module, "match_pairs", stand_in(scene, calls))
    return calls


def test_reconstruct_does_it_all(
    workplace: Path, scene: Any, matcher: list[MatchOptions], capfd: pytest.CaptureFixture[str]
) -> None:
    photos, out = str(workplace / "photos"), workplace / "new" / "out"
    command = ["reconstruct", photos, "--out", str(out), "--camera-mode", "single", "--long-side", "320"]
    assert run([*command, "--json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["summary", "imported", "mapped"]
    assert lines[2]["registered"] == list(scene.names)
    assert lines[2]["missing"] == []
    assert (matcher[0].images, matcher[0].long_side, matcher[0].out) == (Path(photos), 320, out / "matches.h5")
    assert sorted(path.name for path in out.iterdir()) == ["0", "database.db", "matches.h5", "pairs.txt"]
    assert (out / "pairs.txt").read_text(encoding="utf-8").splitlines()[0] == 'a.png "b c.png"'
    assert len((out / "pairs.txt").read_text(encoding="utf-8").splitlines()) == 15
    assert error_of(out / "0", scene.centres) < 0.01
    # Once more: what an earlier run left is ours, and is made anew. A failed pair is told by the exit code.
    assert run([*command, "--overwrite"]) == 3
    said = capfd.readouterr()
    assert "6 of 6 images registered" in said.out
    assert "reprojection error" in said.out
    assert "image_undistorter" in said.out
    assert "colmap-import" not in said.out
    assert "1 of 16 pairs failed" in said.err


def test_photos_that_do_not_register_are_named(
    workplace: Path, scene: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing matches the last photo."""
    matches = [
        type(m)(*(getattr(m, name)[:0] for name in ("keypoints0", "keypoints1", "scores", "reference")))
        if 5 in pair
        else m
        for m, pair in zip(scene.matches, scene.pairs, strict=True)
    ]
    other = type(scene)(scene.names, scene.cameras, scene.pairs, tuple(matches), scene.long_side)
    monkeypatch.setattr(module, "match_pairs", stand_in(other, []))
    assert (
        run(["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out"), "--camera-mode", "single"]) == 0
    )
    said = capfd.readouterr()
    assert "5 of 6 images registered" in said.out
    assert "not registered: z.png" in said.err


def test_a_database_of_somebody_else_in_out_is_refused(
    workplace: Path, matcher: list[MatchOptions], capfd: pytest.CaptureFixture[str]
) -> None:
    out = workplace / "out"
    out.mkdir()
    database = pycolmap.Database.open(out / "database.db")
    database.write_camera(pycolmap.Camera(model="SIMPLE_PINHOLE", width=10, height=10, params=[9, 5, 5]))
    database.close()
    before = (out / "database.db").read_bytes()
    assert run(["reconstruct", str(workplace / "photos"), "--out", str(out)]) == 2
    assert "already holds" in capfd.readouterr().err
    assert (out / "database.db").read_bytes() == before
    assert not matcher


def test_too_many_photos_are_refused_with_the_way_out(
    workplace: Path, matcher: list[MatchOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = workplace / "photos"
    for number in range(55):
        (photos / f"{number}.jpg").touch()
    options = module.reconstruct_files(workplace / "out")
    with pytest.raises(AstrError, match=r"61 photos make 1830 pairs.*astr match pairs\.txt.*astr colmap-import"):
        module.reconstruct(photos, workplace / "out", options, CameraOptions(), lambda event: None)
    assert not (workplace / "out").exists()


def test_too_few_photos_and_photos_in_out(workplace: Path, matcher: list[MatchOptions]) -> None:
    photos = workplace / "photos"
    options = module.reconstruct_files(photos / "sub")
    # sub/ holds two of the six.
    module.reconstruct(photos, photos / "sub", options, CameraOptions("single"), lambda event: None)
    assert len((photos / "sub" / "pairs.txt").read_text(encoding="utf-8").splitlines()) == 6
    for name in ("a.png", "y.png"):
        (photos / name).unlink()
    with pytest.raises(AstrError, match="2 photos are too few"):
        module.reconstruct(photos, photos / "sub", options, CameraOptions(), lambda event: None)


def test_exhaustive_pairs() -> None:
    assert module.exhaustive_pairs(["a", "b", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert module.exhaustive_pairs(["a"]) == []
    assert len(module.exhaustive_pairs([str(number) for number in range(60)])) == len(
        list(itertools.combinations(range(60), 2))
    )
