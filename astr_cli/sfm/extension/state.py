"""The unfinished extension of a folder, hidden in it: made whole beside the old state, then moved in.

Every file is moved in one step, and summary.json last. A run that was killed between two of them is finished by the
next one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.files import write_whole
from astr_cli.sfm.database.atomic import check_target
from astr_cli.sfm.database.inputs import content_hash
from astr_cli.sfm.database.locked import unused
from astr_cli.sfm.extension.folder import FILES, Reconstruction, read_options, read_reconstruction
from astr_cli.sfm.reconstruction.folder import LOCK, SUMMARY
from astr_cli.sfm.scratch import stamp_of
from astr_cli.store.lock import Lock

WORK = ".extend"
JOINED = ".extended.h5"  # in OUT, as a matches file stores the folder of the photos as seen from its own
READY = "ready"  # the whole new state
DROPPED = "dropped"  # file: the numbers of models that are gone, one per line; missing: none
BASE = "base"  # file: the hash of the summary.json that it replaces


class Taken(NamedTuple):
    """A finished reconstruction that this process alone may change."""

    done: Reconstruction
    completed: bool
    """Whether a change that was stopped at its end is complete now."""


@contextmanager
def taken(out: Path, tell: Callable[[str], None]) -> Iterator[Taken]:
    """Takes the folder of a reconstruction and completes a change that was stopped at its end.

    Raises AstrError: not of astr reconstruct, not finished, in use, or its database cannot be replaced.
    """
    run = read_options(out)
    try:
        lock = Lock(out / LOCK, out)
    except OSError as error:
        raise AstrError(f"{out}: cannot be written ({error.strerror}); allow writing there") from None
    try:
        completed = move_in(out, run.sparse)
        if completed:
            tell(f"{out}: a change that was stopped at its end is complete now")
        done = read_reconstruction(run)
        check_target(done.database, replace_ours=True)
        yield Taken(done, completed)
    finally:
        lock.release(remove=True)


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
        if (ready / DROPPED).is_file():
            for number in (ready / DROPPED).read_text().split():
                shutil.rmtree(sparse / number, ignore_errors=True)
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
