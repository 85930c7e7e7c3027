"""A COLMAP database that is complete under its name, or as it was before.

astr works on a copy beside it, which takes the name in one step at the end.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from astr_cli.errors import AstrError, Stopped
from astr_cli.sfm.colmap import open_database

# In the header of databases that astr wrote (SQLite's application_id; COLMAP leaves it alone): "ASTR".
APPLICATION = 0x41535452
SIDE_FILES = ("-wal", "-shm", "-journal")


class DatabaseError(AstrError):
    """A database that must not be touched, or cannot be written."""


@dataclass(frozen=True)
class Target:
    """The existing content under the name of a database."""

    tables: tuple[str, ...]
    """Tables that are not empty; none for a missing or empty database."""
    ours: bool
    """Whether astr made it."""


def examine(path: Path) -> Target:
    """Raises DatabaseError unless `path` is, or can become, a database. Nothing is changed in any case."""
    if not path.parent.is_dir():
        raise DatabaseError(f"{path}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise DatabaseError(f"{path}: the folder {path.parent} is not writable; choose another folder")
    if path.is_dir():
        raise DatabaseError(f"{path}: is a folder; name a database file in it, such as {path / 'database.db'}")
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        raise DatabaseError(
            f"{path}: is open in another program, or a program crashed with it open ({wal.name} is not empty); close "
            "that program, or open and close the database once in COLMAP"
        )
    if not path.exists() or not path.stat().st_size:
        return Target((), False)
    return _examine_content(path)


def _examine_content(path: Path) -> Target:
    try:
        with closing(read_only(path)) as connection:
            ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            names = [name for (name,) in tables if not name.startswith("sqlite_")]
            filled = [
                name for name in names if connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() is not None
            ]
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: an existing file that is not a database ({error}); choose another name") from None
    return Target(tuple(filled), ours)


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that leaves no side files; for a database that is not open elsewhere."""
    return sqlite3.connect(path.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)


def check_target(path: Path, replace_ours: bool) -> None:
    """Raises DatabaseError unless `path` can become a new database: missing, empty, or astr's and to be replaced.

    Nothing is changed in any case.
    """
    target = examine(path)
    if target.tables and not (target.ours and replace_ours):
        raise DatabaseError(
            f"{path}: already contains {', '.join(target.tables[:3])}; choose another name, or --mode append or replace"
        )


@contextmanager
def new_database(path: Path, start: Path | None = None, key: str = "", backup: bool = False) -> Iterator[Path]:
    """A path beside `path` to build a database at; renamed to `path` when the block ends well, removed when it fails.

    start: a database to copy first, usually `path` itself; None: an empty one, marked as astr's.
    key: identifies this work, with `mark_resumable` in the block. A run that was killed or stopped after that leaves
    its copy to the next run with the same key, which resumes from it. backup: keep the old `path` (`backup_name`).
    Raises Stopped: disk full.
    """
    path = path.resolve()
    before = _stamp(path)
    part = path.with_name(f".{path.name}.{_host()}.{os.getpid()}.part")
    kept = _adopt(path, part, key)
    keep = False
    try:
        if not kept:
            _begin(part, start)
        yield part
        _seal(part, whole=start is None)
        if _stamp(path) != before:
            raise DatabaseError(f"{path}: another program changed it during the import; run the same command again")
        _take_place(part, path, backup)
    except KeyboardInterrupt:
        keep = bool(key) and _key_of(part) == key
        raise
    except (RuntimeError, sqlite3.Error, OSError) as error:
        if "disk is full" in str(error) or "No space left" in str(error):
            raise Stopped(f"{path}: the disk is full; free some space and run the same command again") from None
        raise
    finally:
        if not keep:
            part.unlink(missing_ok=True)
            _remove_side_files(part)


def _begin(part: Path, start: Path | None) -> None:
    if start is not None:
        shutil.copyfile(start, part)
        with suppress(OSError):
            shutil.copymode(start, part)
    with open_database(part):
        pass
    if start is None:
        with closing(sqlite3.connect(part)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _take_place(part: Path, path: Path, backup: bool) -> None:
    """`path` is the old file or the new one at any instant."""
    if backup and path.exists():
        try:
            os.link(path, backup_name(path))
        except OSError:  # no hard links there
            shutil.copy2(path, backup_name(path))
    _remove_side_files(path)
    part.replace(path)


def backup_name(path: Path) -> Path:
    """The first free one of database.db.backup, database.db.backup2, ..."""
    number = 1
    while (found := path.with_name(f"{path.name}.backup{number if number > 1 else ''}")).exists():
        number += 1
    return found


def mark_resumable(connection: sqlite3.Connection, key: str) -> None:
    """Marks the database under construction: a later run with the same key can resume from it."""
    connection.execute("CREATE TABLE IF NOT EXISTS astr_work (key TEXT NOT NULL)")
    connection.execute("INSERT INTO astr_work VALUES (?)", (key,))


def is_resumed(part: Path, key: str) -> bool:
    """Whether the block of `new_database` has a copy that an earlier run marked."""
    return bool(key) and _key_of(part) == key


def _key_of(part: Path) -> str | None:
    """Also writes the write-ahead log of a killed run into the file: this is the last connection."""
    try:
        with closing(sqlite3.connect(part)) as connection:
            row = connection.execute("SELECT key FROM astr_work").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None


def _seal(part: Path, whole: bool) -> None:
    """Writes the whole database into its one file, on the disk."""
    with closing(sqlite3.connect(part)) as connection:
        connection.execute("DROP TABLE IF EXISTS astr_work")
        if whole:
            # COLMAP 4.2 always skips a geometry with config 0 (undefined); 1 (degenerate) says that it was verified.
            connection.execute("UPDATE two_view_geometries SET config = 1 WHERE config = 0")
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def _adopt(path: Path, part: Path, key: str) -> bool:
    """Takes over a copy that a run with the same key left beside `path`, and removes all other leftovers."""
    adopted = False
    for left in sorted(path.parent.iterdir()):
        owner = re.fullmatch(rf"\.{re.escape(path.name)}\.(?:([\w-]+)\.)?(\d+)\.(part.*)", left.name)
        if owner is None or owner[1] not in (None, _host()):  # None: of astr 0.1
            continue  # another machine on a shared drive: whether its process lives cannot be seen from here
        end = owner[3]
        if int(owner[2]) != os.getpid() and _alive(int(owner[2])):
            continue
        if end == "part" and key and not adopted and _key_of(left) == key:
            left.replace(part)
            adopted = True
        elif not (adopted and left.name.startswith(part.name)):
            left.unlink(missing_ok=True)
    return adopted


def _host() -> str:
    """This machine's name, as part of a file name."""
    return re.sub(r"[^\w-]+", "-", platform.node())[:60] or "host"


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


def _stamp(path: Path) -> tuple[int, int] | None:
    if not path.exists():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _remove_side_files(path: Path) -> None:
    for suffix in SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
