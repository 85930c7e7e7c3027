"""Databases that another program has open, or was killed with; and those that run code of their own."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run
from astr_cli.options.database import ImportOptions
from astr_cli.sfm.colmap import pycolmap, quiet
from astr_cli.sfm.database import import_steps as work
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.scratch import HOST

from .foreign_databases import execute, files, query
from .old_databases import old_database

# Killed while it replaced keypoints: with so small a cache, half of the pages are in the file already.
KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
connection.execute("PRAGMA cache_size = 5")
connection.execute("BEGIN")
for image in (1, 2, 3):
    data = os.urandom(6 * 4 * int(sys.argv[3]))
    connection.execute("UPDATE keypoints SET rows = ?, data = ? WHERE image_id = ?", (sys.argv[3], data, image))
if sys.argv[4] == "commit":
    connection.execute("COMMIT")
os._exit(137)
"""
BUSY = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE images SET name = 'other.png' WHERE image_id = 1")
print("open", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""
MODES = ("WAL", "DELETE")
POINTS = "SELECT image_id, rows, substr(data, 1, 1000) FROM keypoints"


def kill_writer(path: Path, mode: str, rows: int, end: str = "kill") -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), mode, str(rows), end], check=False, timeout=60)
    assert done.returncode == 137


@contextmanager
def busy(path: Path, mode: str) -> Iterator[None]:
    """Another program in the middle of a transaction, which it finishes after the block."""
    command = [sys.executable, "-c", BUSY, str(path), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        yield
        other.communicate("go on\n", timeout=60)
    assert other.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="os._exit leaves locks for a moment there")
@pytest.mark.parametrize("rows", [3000, 90])
def test_a_hot_journal_is_undone_first(rows: int, sift: Path, workplace: Path) -> None:
    """Case 08."""
    execute(sift, "UPDATE keypoints SET rows = 3000, data = zeroblob(72000)")
    with closing(sqlite3.connect(sift)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    before = query(sift, POINTS)
    kill_writer(sift, "DELETE", rows)
    journal = sift.with_name(sift.name + "-journal")
    assert journal.stat().st_size > 0 and sift.read_bytes()
    import_matches(ImportOptions(sift))
    assert files(workplace) == ["matches.h5", "photos", "sift.db", "sift.db.backup"]
    assert query(workplace / "sift.db.backup", POINTS) == before
    kept = query(sift, POINTS)
    assert [(image, data) for image, _, data in kept] == [(image, data) for image, _, data in before]
    assert all(row[1] >= 3000 for row in kept)


@pytest.mark.parametrize("end", ["kill", "commit"])
def test_what_a_killed_program_committed_counts_and_nothing_else(end: str, sift: Path, workplace: Path) -> None:
    before = query(sift, "SELECT rows FROM keypoints ORDER BY image_id")
    kill_writer(sift, "WAL", 400, end)
    assert sift.with_name(sift.name + "-wal").exists()
    assert run(["colmap-import", str(sift), "--dry-run"]) == 0
    rows = query(sift, "SELECT rows FROM keypoints ORDER BY image_id")
    assert rows == (before if end == "kill" else [(400,)] * 3 + before[3:])


@pytest.mark.parametrize("mode", MODES)
def test_one_that_another_program_has_open_is_refused(mode: str, sift: Path, workplace: Path, capfd: Any) -> None:
    """Case 09: what the other program writes is in the database afterwards."""
    content = query(sift, POINTS)
    with busy(sift, mode):
        assert run(["colmap-import", str(sift), "--mode", "append"]) == 2
        assert "is open in another program" in capfd.readouterr().err
    assert query(sift, POINTS) == content
    with closing(sqlite3.connect(sift)) as connection:
        assert connection.execute("SELECT name FROM images WHERE image_id = 1").fetchone() == ("other.png",)
    assert not {"sift.db.backup", "sift.db-journal"} & set(files(workplace))


@pytest.mark.parametrize("mode", MODES)
def test_one_that_is_opened_during_the_import_is_not_replaced(
    mode: str, sift: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    with closing(sqlite3.connect(sift)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    others: list[Any] = []

    def interfere(*arguments: Any) -> None:
        other = busy(sift, mode)
        other.__enter__()
        others.append(other)

    monkeypatch.setattr(work, "verify", interfere)
    assert run(["colmap-import", str(sift)]) == 2
    others[0].__exit__(None, None, None)
    assert "another program opened or changed it" in capfd.readouterr().err
    with closing(sqlite3.connect(sift)) as connection:
        assert connection.execute("SELECT name FROM images WHERE image_id = 1").fetchone() == ("other.png",)
    assert "sift.db.backup" not in files(workplace)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON matches BEGIN DELETE FROM matches; END", "trigger t"),
        ("CREATE VIEW v AS SELECT * FROM images", "view v"),
        ('CREATE VIEW "a""b" AS SELECT 1', 'view a"b'),
    ],
)
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_database_with_code_of_its_own_is_refused(code: str, kind: str, mode: str, sift: Path, capfd: Any) -> None:
    execute(sift, code)
    content = query(sift, "SELECT * FROM matches")
    assert run(["colmap-import", str(sift), "--mode", mode]) == 2
    error = capfd.readouterr().err
    assert f"has the {kind}, which would run during the import" in error and error.count("\n") == 1
    assert query(sift, "SELECT * FROM matches") == content


@pytest.mark.parametrize("version", [3500, 3600, 3700])
def test_databases_of_old_scripts_are_appended_to_and_mapped(version: int, workplace: Path, scene: Any) -> None:
    """Case 18."""
    path = old_database(workplace / "old.db", version, scene.names, scene.cameras[0].size)
    assert run(["colmap-import", str(path), "--quiet"]) == 0
    out = workplace / "sparse"
    out.mkdir()
    with quiet():
        models = pycolmap.incremental_mapping(path, workplace / "photos", out)
    assert max(model.num_reg_images() for model in models.values()) == 6


def test_the_copy_of_another_computer_is_left_alone(sift: Path, workplace: Path) -> None:
    """Its process numbers mean nothing here."""
    theirs, ours = ".sift.db.other-host-4000000.part", f".sift.db.{HOST}4000000.part"
    for name in (theirs, ours):
        (workplace / name).write_bytes(b"half of a database")
    import_matches(ImportOptions(sift))
    assert theirs in files(workplace) and ours not in files(workplace)


def test_check_does_not_judge_a_half_written_state(sift: Path, capfd: Any) -> None:
    with closing(sqlite3.connect(sift)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    kill_writer(sift, "DELETE", 3000)
    content = sift.read_bytes()
    assert run(["check", str(sift)]) != 0
    said = capfd.readouterr()
    assert "sift.db-journal" in said.out + said.err
    assert sift.read_bytes() == content


def test_known_cameras_are_never_read_from_a_view(sift: Path, workplace: Path, capfd: Any) -> None:
    """A view can compute for ever."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i camera_id, 1 prior FROM n"
    other = workplace / "other.db"
    execute(other, "CREATE TABLE images (name, camera_id)")
    execute(other, f"CREATE VIEW cameras AS {endless}")
    assert run(["colmap-import", str(workplace / "new.db"), "--cameras", str(other)]) == 2
    assert "is a view" in capfd.readouterr().err
