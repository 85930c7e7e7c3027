"""The database is whole under its name or not there; what others made is never touched."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from astr_cli.errors import Stopped
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.atomic import APPLICATION, check_target, new_database
from astr_cli.sfm.database.keypoints import check_matches, write_points
from astr_cli.sfm.database.locked import DatabaseError


def names(folder: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def make_foreign(path: Path) -> bytes:
    """A COLMAP database with one camera, as anybody may have it."""
    with closing(pycolmap.Database.open(path)) as database:
        database.write_camera(pycolmap.Camera(model="SIMPLE_PINHOLE", width=10, height=10, params=[9, 5, 5]))
    return path.read_bytes()


def test_a_new_database_has_only_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with new_database(path) as part:
        assert not path.exists()
        make_foreign(part)
    assert names(tmp_path) == ["new.db"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        assert connection.execute("SELECT COUNT(*) FROM cameras").fetchone() == (1,)
    with closing(pycolmap.Database.open(path)) as database:
        assert database.num_cameras() == 1


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_database(tmp_path / "new.db") as part:
        make_foreign(part)
        raise KeyError
    assert names(tmp_path) == []


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="disk is full"), new_database(tmp_path / "new.db"):
        raise RuntimeError("SQLite error: database or disk is full")


KILLED = """
import os, sys
from pathlib import Path
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.atomic import new_database
with new_database(Path(sys.argv[1])) as part:
    database = pycolmap.Database.open(part)
    database.write_camera(pycolmap.Camera(model="SIMPLE_PINHOLE", width=10, height=10, params=[9, 5, 5]))
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name == "nt", reason="no kill -9 there")
def test_a_killed_run_leaves_no_database_and_the_next_one_sweeps_up(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert not path.exists()
    assert names(tmp_path)
    with new_database(path):
        pass
    assert names(tmp_path) == ["new.db"]


def test_a_database_that_holds_something_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    content = make_foreign(path)
    for replace_ours in (False, True):
        with pytest.raises(DatabaseError, match=r"old\.db: already contains .*cameras"):
            check_target(path, replace_ours)
    assert path.read_bytes() == content
    assert names(tmp_path) == ["old.db"]


def test_ours_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "ours.db"
    with new_database(path) as part:
        make_foreign(part)
    check_target(path, replace_ours=True)
    with pytest.raises(DatabaseError, match="already contains"):
        check_target(path, replace_ours=False)


def test_missing_and_empty_databases_are_fine(tmp_path: Path) -> None:
    check_target(tmp_path / "missing.db", False)
    (tmp_path / "zero.db").touch()
    check_target(tmp_path / "zero.db", False)
    pycolmap.Database.open(tmp_path / "schema.db").close()
    check_target(tmp_path / "schema.db", False)
    with new_database(tmp_path / "schema.db") as part:
        make_foreign(part)
    assert names(tmp_path) == ["schema.db", "zero.db"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("no/such.db", "there is no folder"), ("folder", "is a folder"), ("text.db", "is not a database")],
)
def test_what_cannot_become_a_database(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("pairs of images\n" * 100)
    with pytest.raises(DatabaseError, match=message):
        check_target(tmp_path / name, True)


def test_matches_beyond_the_keypoints_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    good = np.array([[0, 4], [2, 0]], np.uint32)
    check_matches(good, 3, 5)
    check_matches(good[:0], 0, 0)
    for bad in (good[:, ::-1], good.astype(np.int64), good.ravel(), np.array([[3, 0]], np.uint32)):
        with pytest.raises(ValueError, match="match"):
            check_matches(bad, 3, 5)
    keypoints = [np.zeros((3, 2), np.float32), np.zeros((5, 2), np.float32)]
    with pytest.raises(ValueError, match="beyond the 3, 5 keypoints"):
        write_points(tmp_path / "none.db", [1, 2], keypoints, np.array([[0, 1]], np.int32), [good + np.uint32(1)])
    assert not (tmp_path / "none.db").exists()


def test_an_undefined_geometry_is_called_degenerate(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with new_database(path) as part, closing(sqlite3.connect(part)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("INSERT INTO two_view_geometries (pair_id, rows, cols, config) VALUES (7, 0, 2, 0)")
        connection.commit()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT config FROM two_view_geometries").fetchall() == [(1,)]
