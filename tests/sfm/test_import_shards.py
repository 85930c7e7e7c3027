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


def test_two_files_are_imported_as_one(workplace: Path, scene: Any, capfd: Any) -> None:
    """Both parts at once give what the whole file gives, in any order; one of them later is refused."""
    parts = [write_some(scene, workplace / f"{n}.h5", slice(n, 15, 2)) for n in (0, 1)]
    given = [["--matches", str(path)] for path in parts]
    for name, chosen in (("whole.db", ["--matches", str(workplace / "matches.h5")]), ("db.db", given[1] + given[0])):
        assert run(["colmap-import", str(workplace / name), "--quiet", "--no-verify", *chosen]) == 0
    tables = ("keypoints", "matches", "images", "cameras")
    for table in tables:
        assert query(workplace / "db.db", f"SELECT * FROM {table}") == query(
            workplace / "whole.db", f"SELECT * FROM {table}"
        )
    before = (workplace / "db.db").read_bytes()
    assert run(["colmap-import", str(workplace / "db.db"), "--quiet", "--no-verify", *given[0], *given[1]]) == 0
    assert (workplace / "db.db").read_bytes() == before
    capfd.readouterr()
    assert run(["colmap-import", str(workplace / "db.db"), "--quiet", "--no-verify", *given[0]]) == 2
    assert "give the files of both by --matches" in capfd.readouterr().err
