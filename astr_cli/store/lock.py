"""A lock against a second run on the same output. The system drops it with the process, however that ends."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from astr_cli.files import open_own
from astr_cli.store.errors import StoreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class Lock:
    """An exclusive lock on a file, held until `release`. Raises StoreError when another process has it,
    OSError when it cannot be made or is a link."""

    def __init__(self, path: Path, output: Path) -> None:
        self.path = path
        while True:
            self._handle = open_own(path, os.O_RDWR | os.O_CREAT)
            if not _try_lock(self._handle):
                owner = os.pread(self._handle, 20, 0).decode(errors="replace").strip() if os.name != "nt" else ""
                os.close(self._handle)
                process = f" (process {owner})" if owner.isdigit() else ""
                raise StoreError(f"{output}: another run{process} is writing it; wait for it, or choose another --out")
            # The run before may have removed the file between opening and locking: then this lock locks nothing.
            if _same_file(self._handle, path):
                break
            os.close(self._handle)
        if os.name != "nt":  # there the first byte is locked, for reading too
            with suppress(OSError):  # on a full disk the message to the second run lacks the number
                os.ftruncate(self._handle, 0)
                os.write(self._handle, str(os.getpid()).encode())

    @property
    def held(self) -> bool:
        """Whether it has not been released yet."""
        return self._handle >= 0

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self, remove: bool = False) -> None:
        """Release the lock; with `remove` also delete the file, before another process can lock it."""
        if self._handle < 0:
            return
        if remove and os.name != "nt":
            self._remove()
        os.close(self._handle)
        self._handle = -1
        if remove and os.name == "nt":  # an open file cannot be removed there
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):  # the work is done; a file that is left locks nothing
            self.path.unlink(missing_ok=True)


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without locks (some network ones): better unprotected than unusable
    return True


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False
