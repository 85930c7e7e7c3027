"""`astr pairs` on the command line: what it writes, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.cli.pairs_output import finish
from astr_cli.options.pairs import PairListOptions
from astr_cli.sfm.pairs.generators import Proposal


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos in natural order: 1, 2, 3, 9, 10."""
    (tmp_path / "photos").mkdir()
    for number in (1, 2, 3, 9, 10):
        Image.new("L", (64, 48)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_the_command_writes_what_match_reads(photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pairs.txt"
    arguments = ["pairs", "sequential", str(photos), "--overlap", "1", "--out", str(out)]
    assert run(arguments) == 0
    assert out.read_text() == "1.png 2.png\n2.png 3.png\n3.png 9.png\n9.png 10.png\n"
    printed, err = capfd.readouterr()
    assert "5 photos, 4 pairs; 1 to 2 pairs per photo" in printed
    assert "no longer connected: 2.png, 3.png, 9.png" in printed
    assert f"next: astr match {out} --images {photos}" in printed
    assert err == ""
    assert run(["pairs", "exhaustive", str(photos), "--out", str(out)]) == 2
    assert "--overwrite" in capfd.readouterr().err
    assert run(["pairs", "exhaustive", str(photos), "--out", str(out), "--overwrite", "--degree", "2", "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert (record["event"], record["images"], record["degrees"][2], record["components"]) == ("pairs", 5, 2, [5])


def test_standard_output_and_unions(photos: Path, tmp_path: Path) -> None:
    """One command's pairs into another's, by a pipe."""
    extra = subprocess.run(
        [sys.executable, "-m", "astr_cli", "pairs", "sequential", "--quadratic", "--overlap", "3", str(photos)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1.png 9.png" not in extra.stdout
    assert "1.png 10.png" in extra.stdout
    assert "5 photos" in extra.stderr
    done = subprocess.run(
        [sys.executable, "-m", "astr_cli", "pairs", "sequential", str(photos), "--overlap", "1", "--union", "-", "-q"],
        input="9.png 1.png\n2.png 1.png\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1.png 2.png\n9.png 1.png\n2.png 3.png\n3.png 9.png\n9.png 10.png\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exhaustive", "PHOTOS", "--json"], "--out"),
        (["exhaustive", "PHOTOS", "--degree", "0"], "--degree"),
        (["sequential", "PHOTOS", "--overlap", "0"], "--overlap"),
        (["spatial", "PHOTOS"], "0 of 5 photos have a GPS position in their EXIF"),
        (["retrieval", "PHOTOS", "--weights", "none"], "none"),
        (["covisible", "PHOTOS"], "not a readable COLMAP model"),
        (["exhaustive", "NOWHERE"], "no such folder"),
        (["exhaustive", "PHOTOS", "--out", "NOWHERE/pairs.txt"], "create it first"),
        (["exhaustive", "PHOTOS", "--union", "UNION"], "UNION:1: 77.png is not in"),
        (["every", "PHOTOS"], "every"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_2(
    arguments: list[str], message: str, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    union = tmp_path / "UNION"
    union.write_text("77.png 1.png\n")
    places = {"PHOTOS": str(photos), "NOWHERE": str(tmp_path / "nowhere"), "UNION": str(union)}
    places["NOWHERE/pairs.txt"] = str(tmp_path / "nowhere" / "pairs.txt")
    assert run(["pairs", *(places.get(word, word) for word in arguments)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("astr: ")
    assert err.count("\n") == 1
    assert message in err


def test_groups_without_a_pair_are_warned_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    union = tmp_path / "union.txt"
    union.write_text("20.png 21.png\n")
    request = PairListOptions(union=(union,), quiet=True)
    assert (
        finish(
            request, tmp_path, ["1.png", "2.png", "20.png", "21.png", "22.png"], Proposal([("1.png", "2.png")], ("x",))
        )
        == 0
    )
    out, err = capfd.readouterr()
    assert out == "1.png 2.png\n20.png 21.png\n"
    assert err.splitlines() == [
        "astr: warning: x",
        "astr: warning: photos in no pair: 22.png",
        "astr: warning: no pair connects the 2 groups of 2, 2 photos, so each becomes a separate model",
    ]
