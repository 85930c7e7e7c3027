"""The unfinished extension of a folder, hidden in it: made whole beside the old state, then moved in.

Every file is moved in one step, and summary.json last. A run that was killed between two of them is finished by the
next one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.files import write_whole
from astr_cli.sfm.database.inputs import content_hash
from astr_cli.sfm.database.locked import unused
from astr_cli.sfm.extension.folder import FILES, SUMMARY
from astr_cli.sfm.scratch import stamp_of

WORK = ".extend"
READY = "ready"  # the whole new state
BASE = "base"  # file: the hash of the summary.json that it replaces


def work_folder(out: Path) -> Path:
    """The hidden folder of an extension, made if it is missing. Raises AstrError: something else has its name."""
    work = out / WORK
    if work.is_symlink() or (os.path.lexists(work) and not work.is_dir()):
        raise AstrError(f"{work}: is no folder of astr; remove it")
    try:
        work.mkdir(exist_ok=True)
    except OSError as error:
        raise AstrError(f"{work}: cannot be made ({error.strerror}); allow writing in {out}") from None
    return work


def set_ready(out: Path, made: Path) -> None:
    """Declares the folder `made`, in the work folder, the new state."""
    write_whole(made / BASE, content_hash(out / SUMMARY))
    ready = out / WORK / READY
    if ready.exists():
        shutil.rmtree(ready)
    made.rename(ready)


def move_in(out: Path, sparse: Path) -> bool:
    """Puts a new state that is ready into its place and removes the work folder; returns whether it did.

    Raises DatabaseError: another program has the database open.
    """
    work, ready = out / WORK, out / WORK / READY
    if work.is_symlink() or not (ready / BASE).is_file():
        return False
    current = (out / SUMMARY).is_file() and content_hash(out / SUMMARY) == (ready / BASE).read_text()
    if current:  # else it is of a folder that astr reconstruct has changed since
        database = out / "database.db"
        if (ready / database.name).exists():
            with unused(database, stamp_of(database)):
                _move_files(ready, out)
        for folder in sorted((ready / "sparse").iterdir()):
            _swap(folder, sparse / folder.name, work / f"old-{folder.name}")
        (ready / SUMMARY).replace(out / SUMMARY)
    shutil.rmtree(work)
    return current


def clear(out: Path) -> None:
    """Removes what stopped runs left, where there is nothing to extend."""
    if not (out / WORK).is_symlink():
        shutil.rmtree(out / WORK, ignore_errors=True)


def _move_files(ready: Path, out: Path) -> None:
    """The database last, as its absence says that all are moved."""
    for name in FILES[:-1]:
        if (ready / name).exists():
            (ready / name).replace(out / name)


def _swap(new: Path, place: Path, old: Path) -> None:
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    new.rename(place)
