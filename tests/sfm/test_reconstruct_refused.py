"""`astr reconstruct` that does not start, or goes on without bad photos."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.options.matching import MatchOptions
from astr_cli.sfm.reconstruction import reconstruct as module

from .foreign_databases import files
from .test_reconstruct import stand_in


@pytest.fixture
def matcher(scene: Any, monkeypatch: pytest.MonkeyPatch) -> list[MatchOptions]:
    """Puts the simulator in the place of the matching step; the options of every call."""
    calls: list[MatchOptions] = []
    monkeypatch.setattr(module, "match_pairs", stand_in(scene, calls))
    return calls


def break_photos(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"bad{number:02d}.jpg").write_bytes(b"no photo")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pairs", "nearest"], "--pairs nearest: choose one of"),
        (["--weights", "none"], "none"),
        (["--pairs", "spatial"], "have a GPS position"),
        (["--masks", "nowhere"], "nowhere"),
    ],
)
def test_a_refused_start_leaves_nothing(workplace: Path, options: list[str], message: str, capfd: Any) -> None:
    out = workplace / "new" / "out"
    assert run(["reconstruct", str(workplace / "photos"), "--out", str(out), *options]) == 2
    assert message in capfd.readouterr().err
    assert files(workplace) == ["matches.h5", "photos"]
    out.mkdir(parents=True)
    (out / "pairs.txt").write_text("mine\n")
    assert run(["reconstruct", str(workplace / "photos"), "--out", str(out), *options]) == 2
    assert files(out) == ["pairs.txt"] and (out / "pairs.txt").read_text() == "mine\n"


def test_bad_photos_are_named_and_can_be_left_out(
    workplace: Path, scene: Any, matcher: list[MatchOptions], capfd: Any
) -> None:
    break_photos(workplace / "photos", 12)
    command = ["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out"), "--camera-mode", "single"]
    assert run(command) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "use --skip-bad to continue without bad photos" in said
    assert re.findall(r"bad\d+", said) == [f"bad{number:02d}" for number in range(10)]
    assert "11 more bad images" in said and "and 2 more" in said
    assert not (workplace / "out").exists() and not matcher
    assert run([*command, "--skip-bad"]) == 3
    said = capfd.readouterr()
    assert said.err.count("left out: bad") == 10 and "left out: 2 more" in said.err
    assert "6 of 6 photos registered" in said.out.splitlines()[-2]
    assert matcher[0].skip_bad and "bad" not in (workplace / "out" / "pairs.txt").read_text(encoding="utf-8")
    assert len(json.loads((workplace / "out" / "summary.json").read_text(encoding="utf-8"))["skipped"]) == 12


def test_too_few_good_photos(workplace: Path, capfd: Any) -> None:
    photos = workplace / "few"
    photos.mkdir()
    break_photos(photos, 2)
    Image.new("L", (64, 64)).save(photos / "a.png")
    assert run(["reconstruct", str(photos), "--out", str(workplace / "out"), "--skip-bad"]) == 2
    assert "1 photo is too few for a model" in capfd.readouterr().err
