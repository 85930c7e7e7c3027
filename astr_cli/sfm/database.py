"""A COLMAP database that is complete under its name, or not there at all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError, Stopped
from astr_cli.sfm.colmap import pycolmap

# In the header of databases that astr wrote (SQLite's application_id; COLMAP leaves it alone): "ASTR".
APPLICATION = 0x41535452
SIDE_FILES = ("-wal", "-shm", "-journal")


class DatabaseError(AstrError):
    """A database that must not be touched, or cannot be written."""


def check_target(path: Path, replace_ours: bool) -> None:
    """Raises DatabaseError unless `path` can become a new database: missing, empty, or ours and to be replaced.

    Nothing is changed, whatever is there.
    """
    if not path.parent.is_dir():
        raise DatabaseError(f"{path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise DatabaseError(f"{path}: the folder {path.parent} is not writable")
    if path.is_dir():
        raise DatabaseError(f"{path}: is a folder; name a database file in it, such as {path / 'database.db'}")
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise DatabaseError(f"{path}: is open in another program ({wal.name} is not empty); close that first")
    if path.exists() and path.stat().st_size:
        _check_content(path, replace_ours)


def _check_content(path: Path, replace_ours: bool) -> None:
    try:
        with closing(sqlite3.connect(path.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)) as connection:
            ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            names = [name for (name,) in tables if not name.startswith("sqlite_")]
            filled = [
                name for name in names if connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None
            ]
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: is not a database ({error}); choose another name") from None
    if filled and not (ours and replace_ours):
        raise DatabaseError(
            f"{path}: already holds {', '.join(filled[:3])}; astr writes new databases only: choose another name"
        )


@contextmanager
def new_database(path: Path) -> Iterator[Path]:
    """A path beside `path` to build a database at; renamed to `path` when the block ends well, removed when it fails.

    Raises Stopped: disk full.
    """
    _sweep(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        pycolmap.Database.open(part).close()
        yield part
        _seal(part)
        _remove_side_files(path)
        part.replace(path)
    except (RuntimeError, sqlite3.Error, OSError) as error:
        if "disk is full" in str(error) or "No space left" in str(error):
            raise Stopped(f"{path}: the disk is full; free some space and run the same command again") from None
        raise
    finally:
        part.unlink(missing_ok=True)
        _remove_side_files(part)


def write_points(
    database: Path,
    ids: Sequence[int],
    keypoints: Sequence[NDArray[np.float32]],
    pairs: NDArray[np.int32],
    matches: Sequence[NDArray[np.uint32]],
) -> None:
    """Writes the keypoints of N images, (K, 2) in ORIGINAL pixels with (0, 0) the first pixel's centre, and the (M, 2)
    matches of P pairs of them. COLMAP's origin is that pixel's corner: 0.5 is added.

    Raises ValueError, before anything is written, for a match that points at no keypoint: COLMAP would read beyond
    the end of its array.
    """
    for (image0, image1), rows in zip(pairs, matches, strict=True):
        check_matches(rows, len(keypoints[image0]), len(keypoints[image1]))
    with closing(pycolmap.Database.open(database)) as opened, pycolmap.DatabaseTransaction(opened):
        for number, points in zip(ids, keypoints, strict=True):
            opened.write_keypoints(number, np.ascontiguousarray(points, np.float32) + np.float32(0.5))
        for (image0, image1), rows in zip(pairs, matches, strict=True):
            opened.write_matches(ids[image0], ids[image1], rows)


def check_matches(matches: NDArray[np.uint32], rows0: int, rows1: int) -> None:
    """Raises ValueError unless `matches` is (M, 2) uint32 with indices below the two keypoint counts."""
    if matches.ndim != 2 or matches.shape[1] != 2 or matches.dtype != np.uint32:
        raise ValueError(f"expected matches of shape (M, 2) and type uint32, got {matches.shape} {matches.dtype}")
    if len(matches) and (matches.max(0) >= (rows0, rows1)).any():
        worst = matches.max(0)
        raise ValueError(f"match index {worst[0]}, {worst[1]} beyond the {rows0}, {rows1} keypoints of its images")


def _seal(part: Path) -> None:
    """Marks the database as ours and brings all of it into the one file, on the disk."""
    with closing(sqlite3.connect(part)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        # COLMAP 4.2 skips a geometry with config 0 (undefined) for good; 1 (degenerate) says that it was looked at.
        connection.execute("UPDATE two_view_geometries SET config = 1 WHERE config = 0")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def _sweep(path: Path) -> None:
    """Removes what killed runs left beside `path`."""
    for left in path.parent.glob(f".{path.name}.*.part*"):
        owner = left.name.removeprefix(f".{path.name}.").split(".")[0]
        if owner.isdecimal() and not _alive(int(owner)):
            left.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":
        return True  # os.kill would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _remove_side_files(path: Path) -> None:
    for suffix in SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
