"""Whether astr can keep its results in a folder: written, synced, renamed and locked files, HDF5 and SQLite, space."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from astr_cli.doctor.finding import Finding, explained, note, ok, problem

LITTLE = 2_000_000_000  # bytes: some hundred pairs
NONE = 10_000_000
ELSEWHERE = "Choose another folder for results, on a local disk."


def check_folder(folder: Path) -> Iterator[Finding]:
    """All that astr does with files, tried in a folder of its own below `folder`, which is removed afterwards."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        yield problem("folder", f"{folder}: {what}", f"Create the folder (mkdir -p {folder}), or name another one.")
        return
    try:
        scratch = tempfile.TemporaryDirectory(prefix=".astr-doctor-", dir=folder, ignore_cleanup_errors=True)
    except OSError as error:
        todo = "Change its permissions, or choose another folder for results."
        yield problem("folder", f"{folder.absolute()}: cannot be written ({error.strerror})", todo)
        return
    with scratch as name:
        yield ok("folder", f"{folder.absolute()} can be written")
        yield from (_tried(check, trial, Path(name)) for check, trial in TRIALS.items())
        yield _locked(Path(name))
    yield _space(folder)


def _tried(check: str, trial: Callable[[Path], None], scratch: Path) -> Finding:
    try:
        trial(scratch)
    except ImportError as error:
        return note(f"folder: {check}", f"not tried ({explained(error)})")
    except Exception as error:  # file systems, HDF5 and SQLite have their own errors
        return problem(f"folder: {check}", f"failed ({explained(error)})", ELSEWHERE)
    return ok(f"folder: {check}", "works")


def _sync_and_rename(scratch: Path) -> None:
    """As the journal and matches.h5 are written: under another name first."""
    part, target = scratch / "file.part", scratch / "file"
    for content in (b"first", b"second"):
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    if target.read_bytes() != b"second":
        raise OSError("a renamed file has its old content")


def _hdf5(scratch: Path) -> None:
    import h5py

    with h5py.File(scratch / "file.h5", "w") as file:
        file["numbers"] = list(range(1000))
    with h5py.File(scratch / "file.h5") as file:
        if list(file["numbers"][-1:]) != [999]:
            raise OSError("a written array has other content")


def _sqlite(scratch: Path) -> None:
    with closing(sqlite3.connect(scratch / "file.db")) as database:
        database.execute("CREATE TABLE numbers (number INTEGER)")
        database.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(1000)])
        database.commit()
        if database.execute("SELECT COUNT(*) FROM numbers").fetchone() != (1000,):
            raise OSError("a written table has other content")


TRIALS = {"sync and rename": _sync_and_rename, "HDF5": _hdf5, "SQLite": _sqlite}


def _locked(scratch: Path) -> Finding:
    """Whether a second run would notice the first one."""
    from astr_cli.store.errors import StoreError
    from astr_cli.store.lock import Lock

    check, lock = "folder: locks", scratch / "lock"
    try:
        with Lock(lock, lock):
            try:
                Lock(lock, lock).release()
            except StoreError:
                return ok(check, "work")
    except OSError as error:
        return problem(check, f"failed ({explained(error)})", ELSEWHERE)
    todo = "Never start two runs with the same --out, or choose a folder on a local disk."
    return note(check, "have no effect on this file system", todo)


def _space(folder: Path) -> Finding:
    check, free = "folder: space", shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB are free"
    if free < NONE:
        return problem(check, text, "Free some space, or choose another folder for results.")
    if free < LITTLE:
        return note(check, text, "astr plan PAIRS says how much a run needs.")
    return ok(check, text)
