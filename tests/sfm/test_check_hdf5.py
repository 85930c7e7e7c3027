"""`astr check` on HDF5: what is wrong is found, named, and nothing else is."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.options.files import ExportOptions
from astr_cli.sfm.checks import check as run_module
from astr_cli.sfm.checks.check import check_paths, companions
from astr_cli.sfm.checks.report import FileReport
from astr_cli.sfm.checks.worker import inspect
from astr_cli.sfm.exports.export import export_matches
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

SIZE = (640, 512)  # 320 x 256 at half size, both multiples of 32


def levels(report: FileReport) -> dict[str, str]:
    return {finding.check: finding.level for finding in report.findings}


def check(*paths: Path) -> FileReport:
    """The report on the first of some files, made in this process: these are whole."""
    return FileReport.from_record(
        inspect(str(paths[0]), [str(path) for path in companions(paths[0], paths)], lambda: None)
    )


def pixels(count: int, offset: float = 0.0, seed: int = 0) -> np.ndarray:
    """Whole pixels, as a detector gives them."""
    random = np.random.default_rng(seed)
    return (random.integers(4, 470, (count, 2)) + offset).astype(np.float32)


@pytest.fixture
def hloc(tmp_path: Path) -> Path:
    """Three images of 100 detected points, two pairs; one name lies in a folder."""
    with h5py.File(tmp_path / "features.h5", "w") as file:
        for seed, name in enumerate(("cam/a.jpg", "b.jpg", "c.jpg")):
            file[f"{name}/keypoints"] = pixels(100, seed=seed)
            file[f"{name}/image_size"] = np.array(SIZE)
    with h5py.File(tmp_path / "matches.h5", "w") as file:
        for pair in ("cam-a.jpg/b.jpg", "b.jpg/c.jpg"):
            matches0 = np.full(100, -1, np.int32)
            matches0[:60] = np.arange(60)
            file[f"{pair}/matches0"] = matches0
            file[f"{pair}/matching_scores0"] = np.ones(100, np.float16)
    return tmp_path


def test_what_astr_writes_is_clean(workplace: Path) -> None:
    report = check(workplace / "matches.h5")
    assert (report.kind, report.images, report.pairs, report.findings) == ("astr matches", 6, 15, ())
    assert report.matches >= 200 * 15


@pytest.mark.parametrize("form", ["hloc", "imc"])
def test_what_astr_exports_is_clean(form: str, workplace: Path) -> None:
    export_matches(ExportOptions(workplace / "matches.h5", workplace / form, form))
    keypoints, matches = check_paths([workplace / form])
    assert (keypoints.kind, keypoints.images, keypoints.findings) == (f"{form} {keypoints.kind.split()[1]}", 6, ())
    assert (matches.kind, matches.images, matches.pairs, matches.findings) == (f"{form} matches", 6, 15, ())
    assert matches.matches >= 200 * 15


def test_hloc_files_are_read_together(hloc: Path) -> None:
    report = check(hloc / "matches.h5")
    assert (report.images, report.pairs, report.matches) == (3, 2, 120)
    assert levels(report) == {"articulation": "note"}
    assert report.findings[0].examples == ("b.jpg",)
    assert not report.found
    (hloc / "features.h5").rename(hloc / "elsewhere.h5")
    assert levels(check(hloc / "matches.h5"))["no-keypoints"] == "note"
    assert "no-keypoints" not in levels(check(hloc / "matches.h5", hloc / "elsewhere.h5"))


def edit(path: Path, name: str, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


def cut(count: int, last: int) -> np.ndarray:
    matches0 = np.arange(count, dtype=np.int32)
    matches0[-1] = last
    return matches0


@pytest.mark.parametrize(
    ("file", "name", "value", "expected", "example"),
    [
        ("matches.h5", "b.jpg/c.jpg/matches0", cut(100, 100), "index-range", "b.jpg - c.jpg: index 100, keypoints 100"),
        ("matches.h5", "b.jpg/c.jpg/matches0", cut(100, -2), "index-range", "b.jpg - c.jpg: -2"),
        ("matches.h5", "b.jpg/c.jpg/matches0", cut(101, 7), "index-range", "b.jpg - c.jpg: index 100, keypoints 100"),
        ("matches.h5", "b.jpg/c.jpg/matches0", np.ones((100, 2), np.int32), "bad-array", "matches0 is int32 (100, 2)"),
        ("matches.h5", "b.jpg/c.jpg/matching_scores0", None, "bad-array", "matching_scores0 is missing"),
        ("matches.h5", "c.jpg/b.jpg/matches0", cut(100, 7), "duplicate-pair", "b.jpg"),
        ("matches.h5", "b.jpg/b.jpg/matches0", cut(100, 7), "self-pair", "b.jpg"),
        ("matches.h5", "b.jpg/d.jpg/matches0", cut(100, 7), "unknown-image", "d.jpg in b.jpg - d.jpg"),
        ("matches.h5", "b.jpg_cam-a.jpg/matches0", cut(100, 7), "duplicate-pair", "cam/a.jpg"),
        ("matches.h5", "b.jpg/c.jpg/matches0", np.full(100, -1, np.int32), "empty-pair", "b.jpg - c.jpg"),
        ("features.h5", "d.jpg/keypoints", pixels(9), "orphan-image", "d.jpg"),
    ],
)
def test_hloc_matches(hloc: Path, file: str, name: str, value: Any, expected: str, example: str) -> None:
    edit(hloc / file, name, value)
    report = check(hloc / "matches.h5")
    finding = next(finding for finding in report.findings if finding.check == expected)
    assert any(example in shown for shown in finding.examples)
    assert finding.level != "note"
    assert report.found


def nan() -> np.ndarray:
    points = pixels(100)
    points[7, 1] = np.nan
    return points


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("b.jpg/keypoints", nan(), {"bad-array"}),
        ("b.jpg/keypoints", pixels(100)[:, :1], {"bad-array"}),
        ("b.jpg/keypoints", pixels(100).astype(np.float16), {"float16"}),
        ("b.jpg/keypoints", pixels(100, 0.5), {"half-pixel"}),
        ("b.jpg/keypoints", pixels(100) + (0, 400), {"outside"}),
        ("b.jpg/keypoints", np.array([[639.8, 3]], np.float32), {"half-pixel"}),
        ("b.jpg/descriptors", np.zeros((128, 99), np.float32), {"row-mismatch"}),
        ("b.jpg/descriptors", np.zeros((128, 100), np.float32), set()),
        ("cam-a.jpg/keypoints", pixels(100), {"name-collision"}),
        # The centres of 8 px cells of a photo shrunk to half: whole numbers and a half, but of even cells.
        ("b.jpg/keypoints", pixels(100) // 16 * 16 + 7.5, set()),
    ],
)
def test_hloc_features(hloc: Path, name: str, value: Any, expected: set[str]) -> None:
    edit(hloc / "features.h5", name, value)
    assert set(levels(check(hloc / "features.h5"))) == expected


def test_hloc_before_its_assignment(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["a.jpg/b.jpg/keypoints0"] = file["a.jpg/b.jpg/keypoints1"] = pixels(9)
        file["a.jpg/c.jpg/keypoints0"], file["a.jpg/c.jpg/keypoints1"] = pixels(9), pixels(8)
        file["c.jpg/d.jpg/keypoints0"] = file["c.jpg/d.jpg/keypoints1"] = np.zeros(0)
    report = check(tmp_path / "m.h5")
    assert levels(report) == {
        "bad-array": "error",
        "orphan-image": "warning",
        "empty-pair": "warning",
        "articulation": "note",
    }
    assert (report.pairs, report.matches) == (3, 18)


def test_imc_matches_with_folders_in_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "keypoints.h5", "w") as file:
        for name in ("x/a.jpg", "x/b.jpg", "c.jpg"):
            file[name] = pixels(50)
    with h5py.File(tmp_path / "matches.h5", "w") as file:
        file["x/a.jpg/x/b.jpg"] = np.array([[0, 1], [49, 49]])
        file["x/b.jpg/c.jpg"] = np.array([[0, 1], [0, 1], [3, 50]], np.int64)
        file["x/b.jpg/x/a.jpg"] = np.zeros((0, 2), np.int64)
    report = check(tmp_path / "matches.h5")
    assert (report.images, report.pairs, report.matches) == (3, 3, 5)
    found = {finding.check: finding.examples for finding in report.findings}
    assert found["index-range"] == ("x/b.jpg - c.jpg: index 50, keypoints 50",)
    assert found["duplicate-pair"] == found["empty-pair"] == ("x/b.jpg - x/a.jpg",)
    assert set(found) == {"index-range", "duplicate-pair", "empty-pair", "articulation"}


def ours(path: Path, change: Callable[[np.ndarray], np.ndarray], names: tuple[str, str] = ("a.jpg", "b.jpg")) -> Path:
    """One pair matched at half its size: image0 on its cells, then image1; `change` moves the points."""
    cells = np.stack(np.meshgrid(np.arange(2, 30), np.arange(2, 20)), -1).reshape(-1, 2)
    centres = ((cells * 8 + 4) * 2 - 0.5).astype(np.float64)
    leaves = centres + np.random.default_rng(0).normal(0, 1, centres.shape)
    points = [change(np.concatenate(pair)).astype(np.float32) for pair in ((centres, leaves), (leaves, centres))]
    reference = np.repeat([0, 1], len(cells)).astype(np.uint8)
    matches = PairMatches(points[0], points[1], np.ones(len(reference), np.float32), reference)
    write_matches(path, [("long_side", "320")], [MatchEntry(*names, SIZE, SIZE, matches)])
    return path


def test_points_of_astr_that_are_half_a_pixel_off(tmp_path: Path) -> None:
    assert check(ours(tmp_path / "m.h5", lambda points: points)).findings == ()
    report = check(ours(tmp_path / "m.h5", lambda points: points + 0.5))
    assert [(f.check, f.level, f.examples) for f in report.findings] == [("half-pixel", "warning", ("a.jpg", "b.jpg"))]
    # Off by anything else: cells of another kind, of which nothing is known.
    assert check(ours(tmp_path / "m.h5", lambda points: points + 1.3)).findings == ()
    assert set(levels(check(ours(tmp_path / "m.h5", lambda points: points + 300)))) == {"outside"}


def test_names_that_share_a_key(tmp_path: Path) -> None:
    report = check(ours(tmp_path / "m.h5", lambda points: points, ("x/a.jpg", "x-a.jpg")))
    assert levels(report) == {"name-collision": "error"}


def test_groups_that_nothing_joins(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "matches.h5", "w") as file:
        for pair in ("a/b", "b/c", "c/a", "c/d", "x/y"):
            file[pair] = np.array([[0, 1]])
    report = check(tmp_path / "matches.h5")
    found = {finding.check: finding for finding in report.findings}
    assert found["components"].examples == ("4 images with a", "2 images with x")
    assert found["articulation"].examples == ("c",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b"text", "neither an HDF5 file nor a database"),
        (b"\x89HDF\r\n\x1a\n" + bytes(1000), "not a complete HDF5 file"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_2(
    content: bytes | None, reason: str, hloc: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (hloc / "bad.h5").write_bytes(content)
    assert run(["check", str(hloc / "bad.h5"), str(hloc / "features.h5")]) == 2
    out, err = capfd.readouterr()
    assert err.startswith(f"astr: {hloc / 'bad.h5'}: ")
    assert reason in err
    assert err.count("\n") == 1
    assert "hloc features, 3 images" in out  # the other one is checked all the same


def test_other_hdf5_a_folder_and_a_pipe(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a/global_descriptor"] = np.zeros(4096)
    assert "neither matches nor keypoints" in (check(tmp_path / "other.h5").unreadable or "")
    (tmp_path / "empty").mkdir()
    assert "contains no HDF5 file and no database" in (check_paths([tmp_path / "empty"])[0].unreadable or "")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.h5")
        assert check(tmp_path / "pipe.h5").unreadable == "is not a file"


def test_links_lead_nowhere(tmp_path: Path) -> None:
    """A group in itself would be walked for ever; another file is nobody's business."""
    with h5py.File(tmp_path / "keypoints.h5", "w") as file:
        file["a.jpg"] = pixels(9)
        file["loop"] = file["/"]
        file["outside"] = h5py.ExternalLink("/etc/hostname", "x")
        file["gone"] = h5py.SoftLink("/nothing")
    report = check(tmp_path / "keypoints.h5")
    assert (report.images, report.findings) == (1, ())


def test_a_file_that_claims_too_much(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "keypoints.h5", "w") as file:
        file["b.jpg"] = pixels(9)
        file.create_dataset("a.jpg", (1 << 40, 2), np.float32, chunks=(1024, 2))
    report = check(tmp_path / "keypoints.h5")
    assert levels(report) == {"damaged": "error"}
    assert "more data than the file can contain" in report.findings[0].text


def test_exit_codes_table_and_json(hloc: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(hloc)]) == 0
    assert "no problems" in capfd.readouterr().out
    edit(hloc / "matches.h5", "b.jpg/c.jpg/matches0", cut(100, 100))
    assert run(["check", str(hloc)]) == 3
    assert "index-range" in capfd.readouterr().out
    assert run(["check", str(hloc), "--json"]) == 3
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [record["kind"] for record in records] == ["hloc features", "hloc matches"]
    assert [finding["check"] for finding in records[1]["findings"]] == ["index-range", "articulation"]
    assert run(["check", str(hloc), "--quiet"]) == 3
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("start", "end"), [("import os; os.abort()", "SIGABRT"), ("raise SystemExit(5)", "code 5")])
def test_a_process_that_dies_is_one_line(hloc: Path, start: str, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "START", start)
    report = check_paths([hloc / "features.h5"])[0]
    assert f"it crashes the process that reads it ({end})" in (report.unreadable or "")


def test_a_process_that_never_answers_is_one_line(hloc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "START", "import time; time.sleep(60)")
    with run_module.Inspector(patience=0.2) as inspector:
        assert "without a sign of life" in (inspector.inspect(hloc / "features.h5").unreadable or "")
    monkeypatch.undo()
    assert check_paths([hloc / "features.h5"])[0].unreadable is None
