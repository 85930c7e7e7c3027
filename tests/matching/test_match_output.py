"""What `astr match` prints of a run, beside its exit codes."""

import json

import pytest

from astr_cli.cli.app import run


def test_pairs_that_hardly_match_are_named(scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Also when all was done before."""
    for turn in range(2):
        assert run([*scene.arguments(), "--max-matches", "2"]) == 0
        line = capsys.readouterr().out.splitlines()[-2]
        assert line.startswith("15 of 15 pairs have fewer than 15 matches: photo00.png photo01.png (4), "), turn
        assert line.endswith(
            "(4), ...; where photos are turned against each other, try --rotate auto with another --out"
        )
    assert run([*scene.arguments(), "--max-matches", "2", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(summary["few"]) == 15
    assert summary["few"][0] == {"name0": "photo00.png", "name1": "photo01.png", "matches": 4}


def test_pairs_that_match_well_are_no_news(scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(scene.arguments()) == 0
    assert "fewer than" not in capsys.readouterr().out
