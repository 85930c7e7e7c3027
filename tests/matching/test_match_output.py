"""What `astr match` prints of a run, beside its exit codes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli import match_output
from astr_cli.cli.app import run
from astr_cli.cli.match_lines import failed_lines
from astr_cli.matching.run.events import FailedPair, PairDone, Started
from astr_cli.wording import duration_text


def test_pairs_that_hardly_match_are_named(scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Also when all was done before."""
    for turn in range(2):
        assert run([*scene.arguments(), "--max-matches", "2"]) == 0
        line = capsys.readouterr().out.splitlines()[-2]
        assert line.startswith("15 of 15 pairs have fewer than 15 matches: photo00.png photo01.png (4), "), turn
        assert line.endswith(
            "(4), ...; if photos are rotated relative to each other, try --rotate auto with another --out"
        )
    assert run([*scene.arguments(), "--max-matches", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(summary["few"]) == 15
    assert summary["few"][0] == {"name0": "photo00.png", "name1": "photo01.png", "matches": 4}


def test_pairs_that_match_well_are_no_news(scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(scene.arguments()) == 0
    assert "fewer than" not in capsys.readouterr().out


def test_photos_with_masks_are_counted(scene, capsys: pytest.CaptureFixture[str]) -> None:
    masks = scene.root / "masks"
    masks.mkdir()
    Image.fromarray(np.full((128, 160), 255, np.uint8)).save(masks / f"{scene.names[0]}.png")
    assert run([*scene.arguments(), "--masks", str(masks)]) == 0
    assert "masks for 1 of 6 photos" in capsys.readouterr().err
    assert run([*scene.arguments("two.h5"), "--masks", str(masks), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["masked"] == 1
    assert run([*scene.arguments("three.h5"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["masked"] is None


STARTED = Started(20, 190, 0, 0, 10**6, 10**9, "astr-small", "cpu", "fp32", 640, 1)
DONE = PairDone("a.jpg", "b.jpg", 791, 12, 190, 20, 4, 2_100_000_000)


@pytest.mark.parametrize(
    ("width", "there", "gone"),
    [(60, ["pairs/s"], ["GB"]), (100, ["pairs/s", "791 matches per pair", "2.1 GB of memory"], ["cache"])],
)
def test_a_narrow_terminal_keeps_bar_count_and_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, there: list[str], gone: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with match_output.RichReport() as report:
        report.event(STARTED)
        capsys.readouterr()
        report.event(DONE)
    line = capsys.readouterr().err
    for part in ["matching", "12/190", "-:--:--", "━━━━", *there]:
        assert part in line
    for part in gone:
        assert part not in line


def test_plain_lines_say_how_much_time_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    with match_output.PlainReport() as report:
        report.event(STARTED)
        report.event(DONE)
        report.event(replace(DONE, finished=190))
    lines = capsys.readouterr().err.splitlines()
    assert "12/190 pairs, about 0 s left, " in lines[-2]
    assert "190/190 pairs, " in lines[-1] and "left" not in lines[-1]
    texts = [duration_text(seconds) for seconds in (40.2, 750, 3 * 3600 + 300)]
    assert texts == ["40 s", "12 min", "3 h 5 min"]


def test_failures_are_told_by_photo_and_else_by_pair() -> None:
    model = "the model gave a score that is not finite"
    failed = [
        FailedPair("a.jpg", "sub/notes.jpg", "notes.jpg: not an image"),
        FailedPair("a.jpg", "b.jpg", model),
        FailedPair("sub/notes.jpg", "b.jpg", "notes.jpg: not an image"),
        FailedPair("a.jpg", "c.jpg", model),
        FailedPair("a.jpg", "gone.jpg", "gone.jpg: no such image"),
    ]
    assert list(failed_lines(failed)) == [
        "notes.jpg: not an image; 2 pairs left out",
        f"a.jpg b.jpg: {model}",
        f"a.jpg c.jpg: {model}",
        "a.jpg gone.jpg: gone.jpg: no such image",
    ]
