"""A COLMAP database that is complete under its name, or as it was before.

astr works on a copy beside it, which takes the name in one step at the end.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from astr_cli.errors import Interrupted, Stopped
from astr_cli.files import check_output_file
from astr_cli.sfm.colmap import open_database
from astr_cli.sfm.database.locked import UNREADABLE, DatabaseError, alone, copy_database, unused
from astr_cli.sfm.scratch import HOST, Stamp, is_left_over, stamp_of

# In the header of databases that astr wrote (SQLite's application_id; COLMAP leaves it alone): "ASTR".
APPLICATION = 0x41535452
SIDE_FILES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Target:
    """The existing content under the name of a database."""

    tables: tuple[str, ...]
    """Tables that are not empty; none for a missing or empty database."""
    ours: bool
    """Whether astr made it."""
    stamp: Stamp | None
    """Its file at that moment; None: there is none."""


def examine(path: Path) -> Target:
    """Raises DatabaseError unless `path` is, or can become, a database.

    Nothing is changed, but SQLite undoes or finishes what a killed program left half done in it.
    """
    check_output_file(path, "database")
    if not path.parent.is_dir():
        raise DatabaseError(f"{path}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise DatabaseError(f"{path}: the folder {path.parent} is not writable; choose another folder")
    if path.is_dir():
        raise DatabaseError(f"{path}: is a folder; name a database file in it, such as {path / 'database.db'}")
    if not path.exists() or not path.stat().st_size:
        return Target((), False, stamp_of(path))
    return _examine_content(path)


def _examine_content(path: Path) -> Target:
    with alone(path) as connection:
        try:
            ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
            problem = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            if problem != "ok":
                raise _damaged(path, problem)
            _refuse_code(path, connection)
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            names = [name for (name,) in tables if not name.startswith("sqlite_")]
            filled = [name for name in names if connection.execute(f"SELECT 1 FROM {_quoted(name)} LIMIT 1").fetchone()]
        except UNREADABLE as error:
            raise DatabaseError(
                f"{path}: an existing file that is not a database ({error}); choose another name"
            ) from None
    return Target(tuple(filled), ours, stamp_of(path))


def _damaged(path: Path, problem: str) -> DatabaseError:
    shown = " ".join(problem.split())
    return DatabaseError(f"{path}: damaged ({shown}); make it again, or rescue it with .recover of the sqlite3 program")


def _refuse_code(path: Path, connection: sqlite3.Connection) -> None:
    """Raises DatabaseError for what runs by itself when rows are read or written; COLMAP's databases have none."""
    row = connection.execute(
        "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') OR sql LIKE 'CREATE VIRTUAL%'"
    ).fetchone()
    if row is not None:
        kind = "virtual table" if row[0] == "table" else row[0]
        raise DatabaseError(
            f"{path}: has the {kind} {row[1]}, which would run during the import; remove it (DROP "
            f"{row[0].upper()} {_quoted(row[1])}), or import into another database"
        )


def _quoted(name: str) -> str:
    """As an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


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
def new_database(
    path: Path, start: Path | None = None, key: str = "", backup: bool = False, before: Target | None = None
) -> Iterator[Path]:
    """A path beside `path` to build a database at; renamed to `path` when the block ends well, removed when it fails.

    start: a database to copy first, usually `path` itself; None: an empty one, marked as astr's.
    key: identifies this work, with `mark_resumable` in the block. A run that was killed or stopped after that leaves
    its copy to the next run with the same key, which resumes from it. backup: keep the old `path` (`backup_name`).
    before: `path` as it was examined; None: as it is now. Raises DatabaseError: another program has `path` open, or
    changed it since; Stopped: disk full.
    """
    path = path.resolve()
    stamp = stamp_of(path) if before is None else before.stamp
    part = path.with_name(f".{path.name}.{HOST}{os.getpid()}.part")
    kept = _adopt(path, part, key)
    keep = False
    try:
        if not kept:
            _begin(part, start)
        yield part
        _seal(part, whole=start is None)
        _take_place(part, path, backup, stamp)
    except (KeyboardInterrupt, Interrupted):
        keep = bool(key) and _key_of(part) == key
        raise
    except (RuntimeError, OSError, *UNREADABLE) as error:
        if "disk is full" in str(error) or "No space left" in str(error):
            raise Stopped(f"{path}: the disk is full; free some space and run the same command again") from None
        if start is not None and ("malformed" in str(error) or isinstance(error, UNREADABLE)):
            raise _damaged(path, str(error)) from None  # what the check of `examine` does not see
        raise
    finally:
        if not keep:
            part.unlink(missing_ok=True)
            _remove_side_files(part)


def _begin(part: Path, start: Path | None) -> None:
    if start is not None:
        copy_database(start, part)
    with open_database(part):
        pass
    if start is None:
        with closing(sqlite3.connect(part)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")


def _take_place(part: Path, path: Path, backup: bool, expected: Stamp | None) -> None:
    """`path` is the old file or the new one at any instant. Raises DatabaseError: the old one is not as expected."""
    saved = backup_name(path) if backup and path.exists() else None
    try:
        if saved is not None and not saved.exists():
            _save(path, saved)
        with unused(path, expected):
            _remove_side_files(path)
            if os.name != "nt":  # there an open file cannot be replaced
                part.replace(path)
        if os.name == "nt":
            part.replace(path)
    except (DatabaseError, OSError):
        if saved is not None:
            saved.unlink(missing_ok=True)
        raise


def _save(path: Path, backup: Path) -> None:
    try:
        os.link(path, backup)
    except OSError:  # no hard links there
        shutil.copy2(path, backup)


def backup_name(path: Path) -> Path:
    """The first free one of database.db.backup, database.db.backup2, ..., or the one that a killed run just made."""
    number = 1
    while (found := path.with_name(f"{path.name}.backup{number if number > 1 else ''}")).exists():
        if path.exists() and found.samefile(path):
            return found
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
    adopted, start = False, f".{path.name}."
    for left in sorted(path.parent.iterdir()):
        owner, _, end = left.name.removeprefix(start).partition(".")
        if not left.name.startswith(start) or not end.startswith("part"):
            continue
        if not (left.name.startswith(part.name) or is_left_over(owner)):
            continue
        if end == "part" and key and not adopted and _key_of(left) == key:
            left.replace(part)
            adopted = True
        elif not (adopted and left.name.startswith(part.name)):
            left.unlink(missing_ok=True)
    return adopted


def _remove_side_files(path: Path) -> None:
    for suffix in SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
