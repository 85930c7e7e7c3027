"""Databases that other programs may use too: SQLite's own locks keep them out while astr copies or replaces one.

No other code of this process may open such a file meanwhile: closing it again would drop the locks (POSIX).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.sfm.scratch import Stamp, stamp_of

if sys.platform != "win32":
    import fcntl

PATIENCE = 2.0  # seconds that another program may take to finish a transaction
LOCK_BYTES = (0x40000000, 512)  # where SQLite locks a file, and how many bytes (https://sqlite.org/fileformat2.html)
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter also for a message of SQLite
HALF_DONE = ("-wal", "-journal")  # side files that hold what is not in the database yet, or would undo what is


class DatabaseError(AstrError):
    """A database that must not be touched, or cannot be written."""


@contextmanager
def alone(path: Path) -> Iterator[sqlite3.Connection]:
    """The only connection to an existing database, to read from.

    SQLite first undoes, or finishes, what a killed program left half done. Raises DatabaseError: open in another
    program, write-protected, or no database.
    """
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    with closing(connection):
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")  # the lock stays
        except UNREADABLE as error:
            raise _refusal(path, str(error)) from None
        yield connection


def _refusal(path: Path, why: str) -> DatabaseError:
    if "locked" in why:
        return DatabaseError(
            f"{path}: is open in another program; close that program and run the same command again "
            "(on a network drive without locks, work on a copy elsewhere)"
        )
    if "readonly" in why:
        return DatabaseError(f"{path}: is write-protected; allow writing, or work on a copy")
    return DatabaseError(f"{path}: an existing file that is not a database ({why}); choose another name")


def copy_database(path: Path, copy: Path) -> None:
    """A copy of a state that the database really had. Raises DatabaseError as `alone` does."""
    with alone(path) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    with suppress(OSError):
        shutil.copymode(path, copy)


@contextmanager
def unused(path: Path, expected: Stamp | None) -> Iterator[None]:
    """Keeps other programs out of a database while it is replaced.

    Raises DatabaseError: a program has it open, or it is not as `expected`.
    """
    handle = os.open(path, os.O_RDWR) if expected is not None and path.exists() else -1
    try:
        half_done = any(_filled(path.with_name(path.name + suffix)) for suffix in HALF_DONE)
        if half_done or stamp_of(path) != expected or not _lock(handle):
            raise DatabaseError(
                f"{path}: another program opened or changed it meanwhile, so astr left it alone; close that program "
                "and run the same command again"
            )
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _filled(path: Path) -> bool:
    stamp = stamp_of(path)
    return stamp is not None and stamp.size > 0


def _lock(handle: int) -> bool:
    """Whether no other program uses the file. SQLite has the locks for it on Windows too, but no file is replaced
    there while it is open.
    """
    if handle < 0 or sys.platform == "win32":
        return True
    try:
        start, length = LOCK_BYTES
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a drive without locks
    return True
