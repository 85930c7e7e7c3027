"""Importing a matches file that lacks pairs of an earlier import: never without being told."""

from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run

from .foreign_databases import query

FILLED = "SELECT COUNT(*) FROM matches WHERE rows > 0"


def write_some(scene: Any, path: Path, chosen: slice) -> Path:
    some = type(scene)(scene.names, scene.cameras, scene.pairs[chosen], scene.matches[chosen], scene.long_side)
    written: Path = some.write(path)
    return written


@pytest.mark.parametrize("more", [[], ["--mode", "append"], ["--dry-run"]])
def test_another_shard_is_refused(more: list[str], workplace: Path, scene: Any, capfd: Any) -> None:
    """Both have all photos but not all pairs."""
    command = ["colmap-import", str(workplace / "db.db"), "--quiet", "--no-verify", "--matches"]
    assert run([*command, str(write_some(scene, workplace / "1.h5", slice(0, 15, 2)))]) == 0
    capfd.readouterr()
    content = (workplace / "db.db").read_bytes()
    assert run([*command, str(write_some(scene, workplace / "2.h5", slice(1, 15, 2))), *more]) == 2
    error = capfd.readouterr().err
    assert "an earlier astr import has 8 pairs that" in error and "--replace-import" in error
    assert error.count("\n") == 1 and (workplace / "db.db").read_bytes() == content


def test_the_same_file_more_pairs_or_being_told_need_nothing_else(workplace: Path, scene: Any) -> None:
    first, second = write_some(scene, workplace / "1.h5", slice(9)), write_some(scene, workplace / "2.h5", slice(5, 15))
    command = ["colmap-import", str(workplace / "db.db"), "--quiet", "--no-verify", "--mode", "append", "--matches"]
    for file in (first, first, workplace / "matches.h5"):
        assert run([*command, str(file)]) == 0
    assert query(workplace / "db.db", FILLED) == [(15,)]
    assert run([*command, str(second), "--replace-import"]) == 0
    assert query(workplace / "db.db", FILLED) == [(10,)]
