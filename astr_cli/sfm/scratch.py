"""Hidden folders beside an output, in which it is made; the next run removes what killed runs left of them."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HOST = f"{platform.node().replace('.', '-') or 'here'}-"  # stands before the process in the name of unfinished work


@contextmanager
def scratch_folder(folder: Path, purpose: str) -> Iterator[Path]:
    """A new folder in `folder`, called .PURPOSE-..., which is removed after the block; if that ends well, those of
    killed runs too. Raises OSError.
    """
    prefix = f".{purpose}-{HOST}{os.getpid()}."
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as made:
        yield Path(made)
    for left in left_over(folder, f".{purpose}-"):
        shutil.rmtree(left, ignore_errors=True)


def left_over(folder: Path, start: str) -> list[Path]:
    """What killed runs left in `folder`, by name: START, then host and process, then a dot and more."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name.startswith(start) and is_left_over(path.name.removeprefix(start).partition(".")[0])
    ]


def is_left_over(owner: str) -> bool:
    """Whether `owner`, a host and a process, is a process of this computer that runs no more.

    Names of earlier versions of astr have no host.
    """
    process = owner.removeprefix(HOST)
    if not process.isdecimal():
        return False  # another computer on a shared drive: its processes cannot be seen from here
    return int(process) != os.getpid() and not _alive(int(process))


def _alive(process: int) -> bool:
    if os.name == "nt":
        return True  # os.kill would end it there
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


class Stamp(NamedTuple):
    """Differs after a file was written again."""

    inode: int
    mtime_ns: int
    size: int  # bytes


def stamp_of(path: Path) -> Stamp | None:
    """None: there is no such file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)
