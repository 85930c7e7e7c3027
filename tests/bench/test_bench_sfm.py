"""`astr bench sfm`: both reconstructions of a scene, side by side."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from astr_cli.bench.records import BenchError
from astr_cli.bench.sfm import SfmFigures, bench_sfm
from astr_cli.cli.app import run
from astr_cli.cli.bench_sfm import _print_table
from astr_cli.options.bench import SfmOptions

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_rendered_scene_by_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load("quickstart_scene").write_scene(tmp_path / "courtyard")
    capsys.readouterr()
    command = ["bench", "sfm", str(tmp_path / "courtyard"), "--work", str(tmp_path / "work"), "--long-side", "320"]
    assert run([*command, "--json"]) == 0
    ours, sift = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    for figures, matcher in ((ours, "astr"), (sift, "SIFT")):
        assert (figures["event"], figures["scene"], figures["matcher"]) == ("reconstruction", "courtyard", matcher)
        assert (figures["photos"], figures["registered"], figures["pairs"]) == (6, 6, "exhaustive")
        assert figures["points"] >= 200 and figures["mean_track"] > 2 and figures["reprojection"] < 1
        assert 0 < figures["centre_error"] < 0.02
    # Once more: everything is there already, and the table says the same.
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert out.count("6 of 6") == 2 and f"{100 * ours['centre_error']:.3f}%" in out
    assert "up to date, not mapped again" in err


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # as most terminals have
    _print_table(
        [
            SfmFigures("fountain-P11-reduced", "astr", "exhaustive", 11, 11, 123456, 3.21, 0.86, 0.00123, 11, 0.22),
            SfmFigures("fountain-P11-reduced", "SIFT", "exhaustive", 11, 0),
        ]
    )
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "\u2026" not in said
    for cell in (
        "scene, pairs",
        "photos",
        "centre",
        "mean",
        "points",
        "GPS",
        "11 of 11",
        "0.123%",
        "123456",
        "11, 0.22 m",
    ):
        assert cell in said
    assert "0 of 11" in said and "0.00" not in said


def test_folders_that_cannot_be_compared(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(BenchError, match="no such folder"):
        list(bench_sfm(SfmOptions((tmp_path / "none",), tmp_path), lambda event: None))
    for folder in ("a/scene", "b/scene"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(BenchError, match="two of the folders are called scene"):
        list(bench_sfm(SfmOptions((tmp_path / "a/scene", tmp_path / "b/scene"), tmp_path), lambda event: None))
    Image.new("L", (64, 64)).save(tmp_path / "a" / "scene" / "one.png")
    assert run(["bench", "sfm", str(tmp_path / "a" / "scene"), "--work", str(tmp_path / "work")]) == 2
    assert "too few for a model" in capsys.readouterr().err
