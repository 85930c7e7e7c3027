"""`astr reconstruct`: what it makes of a folder of photos, and what it does not do twice."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.matching.run.events import FailedPair, MatchSummary, Started, Writing
from astr_cli.options.database import CameraOptions
from astr_cli.options.matching import MatchOptions
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import camera_centres
from astr_cli.sfm.reconstruction import reconstruct as module

from .foreign_databases import files


def error_of(model: Path, truth: dict[str, np.ndarray]) -> float:
    centres = camera_centres(model)
    return centre_error(np.array(list(centres.values())), np.array([truth[name] for name in centres]))


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


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_reconstruct_does_it_all(
    workplace: Path, scene: Any, matcher: list[MatchOptions], capfd: pytest.CaptureFixture[str]
) -> None:
    photos, out = str(workplace / "photos"), workplace / "new" / "out"
    command = ["reconstruct", photos, "--out", str(out), "--camera-mode", "single", "--long-side", "320"]
    assert run([*command, "--json", "--tiles", "--rotate", "none", "--masks", photos]) == 0
    assert (matcher[0].tiles, matcher[0].rotate, matcher[0].masks) == (True, "none", Path(photos))
    said = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert any(line["event"] == "progress" and line["text"].startswith("mapping ") for line in said)
    lines = [line for line in said if line["event"] != "progress"]
    assert [line["event"] for line in lines] == ["summary", "imported", "mapped", "image_pairs", "report"]
    assert (lines[2]["registered"], lines[2]["missing"]) == (list(scene.names), [])
    assert (matcher[0].images, matcher[0].long_side, matcher[0].out) == (Path(photos), 320, out / "matches.h5")
    names = ["database.db", "matches.h5", "options.toml", "pairs.txt", "report.html", "sparse", "summary.json"]
    names += ["times.json"]
    assert files(out) == names
    assert {"cameras.bin", "images.bin", "points3D.bin", "points.ply"} <= set(files(out / "sparse" / "0"))
    pairs = lines_of(out / "pairs.txt")
    assert pairs[0].startswith("# astr reconstruct: exhaustive pairs of 6 photos")
    assert (pairs[1], len(pairs)) == ('a.png "b c.png"', 16)
    assert error_of(out / "sparse" / "0", scene.centres) < 0.01
    # Every pair with its share of inliers, and all of it in one file.
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["image_pairs"] == lines[3]["pairs"] and len(summary["image_pairs"]) == 15
    assert all(pair["ratio"] > 0.5 and pair["agreeing"] > 0.9 for pair in summary["image_pairs"])
    assert (summary["pairs"]["method"], summary["doubtful"]) == ("exhaustive", [])
    assert summary["model"]["points"] == lines[2]["points"] >= 500


def test_what_is_done_is_not_done_again(
    workplace: Path, scene: Any, matcher: list[MatchOptions], monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    out = workplace / "out"
    command = ["reconstruct", str(workplace / "photos"), "--out", str(out), "--camera-mode", "single"]
    assert run(command) == 0
    said = capfd.readouterr().out
    assert "6 of 6 photos registered" in said and "reprojection error" in said
    assert "registered" in said.splitlines()[-2] and "report.html: open it" in said.splitlines()[-1]
    assert "15 pairs with matches: 0 not verified; 0 doubtful" in said
    assert "camera 1, 6 photos: focal length 4" in said and "px (initial guess 614 px), radial distortion " in said
    assert "image_undistorter" in said and f"--output_path {out / 'dense'}" in said and "colmap-import" not in said
    made = {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*")) if path.is_file()}

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("done already")

    with monkeypatch.context() as patched:
        patched.setattr(module, "map_database", refuse)
        patched.setattr("astr_cli.sfm.database.import_steps.build_tracks", refuse)
        patched.setattr("astr_cli.sfm.pairs.automatic.choose_pairs", refuse)
        assert run(command) == 0
    again = capfd.readouterr()
    assert next(line for line in again.out.splitlines() if "registered" in line) in said
    assert "up to date, not mapped again" in again.err
    for path in (out / "database.db", out / "pairs.txt", out / "sparse" / "0" / "images.bin"):
        assert path.stat().st_mtime_ns == made[path]
    # Stopped in mapping: all that was before is kept. A failed pair is told by the exit code.
    (out / "summary.json").unlink()
    with monkeypatch.context() as patched:
        patched.setattr("astr_cli.sfm.database.import_steps.build_tracks", refuse)
        assert run([*command, "--overwrite"]) == 3
    assert "1 of 16 pairs failed" in capfd.readouterr().err
    # Another wish for the mapping is another model, of the same database.
    monkeypatch.setattr("astr_cli.sfm.database.import_steps.build_tracks", refuse)
    assert run([*command, "--mapper", "global"]) == 0
    said = capfd.readouterr()
    assert "6 of 6 photos registered" in said.out.splitlines()[-2]
    assert "sparse: 1 earlier model replaced" in said.err


def test_the_bar_of_matching_ends_with_it(
    workplace: Path, scene: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal, which has lines of the later steps after that."""

    def match(options: MatchOptions, listener: Any) -> MatchSummary:
        listener(Started(6, 15, 0, 0, 1, 1, "w", "cpu", "fp32", 640, 1))
        listener(Writing(options.out, 15))
        return stand_in(scene, [])(options, listener)

    monkeypatch.setattr(module, "match_pairs", match)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    command = ["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out"), "--camera-mode", "single"]
    assert run(command) == 0
    told = capsys.readouterr().err
    assert 0 <= told.rfind("writing") < told.index("mapping 6 images")


def test_in_a_folder_called_sparse_the_models_are_in_it(
    workplace: Path, scene: Any, matcher: list[MatchOptions]
) -> None:
    assert run(["reconstruct", str(workplace / "photos"), "--out", str(workplace / "sparse"), "--quiet"]) == 0
    assert files(workplace / "sparse") == [
        "0",
        "database.db",
        "matches.h5",
        "options.toml",
        "pairs.txt",
        "report.html",
        "summary.json",
        "times.json",
    ]


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
    assert "5 of 6 photos registered" in said.out
    assert "not registered: z.png" in said.err


def test_look_alikes_are_warned_of(
    workplace: Path, scene: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """z.png is taken for b c.png: matches of a sound geometry, which the other pairs contradict."""
    found = dict(zip(scene.pairs, scene.matches, strict=True))
    assert len(found[0, 1]) >= 200
    found[0, 5] = found[0, 1]
    other = type(scene)(scene.names, scene.cameras, scene.pairs, tuple(found.values()), scene.long_side)
    monkeypatch.setattr(module, "match_pairs", stand_in(other, []))
    command = ["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out"), "--camera-mode", "single"]
    assert run(command) == 0
    said = capfd.readouterr()
    assert "1 pair matches well but contradicts the model" in said.err and "a.png and z.png;" in said.err
    assert "6 of 6 photos registered" in said.out
    assert error_of(workplace / "out" / "sparse" / "0", scene.centres) < 0.01
    summary = json.loads((workplace / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["doubtful"] == [["a.png", "z.png"]]


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
    assert "already contains" in capfd.readouterr().err
    assert (out / "database.db").read_bytes() == before
    assert not matcher


def test_too_few_photos_and_photos_in_out(workplace: Path, matcher: list[MatchOptions]) -> None:
    photos = workplace / "photos"
    out = photos / "sub"  # holds two of the six
    options = ReconstructOptions(photos, out, cameras=CameraOptions("single"))
    module.reconstruct(options, lambda event: None)
    assert len(lines_of(out / "pairs.txt")) == 1 + 6
    for name in ("a.png", "b c.png", "y.png"):
        (photos / name).unlink()
    with pytest.raises(AstrError, match="1 photo is too few"):
        module.reconstruct(options, lambda event: None)
