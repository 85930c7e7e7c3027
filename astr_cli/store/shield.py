"""A file that HDF5 may write to although the disk may fill up.

HDF5 cannot close a file after a failed write, and crashes the process later. So HDF5 never sees the failure: astr keeps
the first error to raise it itself, and holds all later data in memory until the file is closed.
"""

import io
import os
from pathlib import Path
from typing import Any

from astr_cli.files import open_new


class ShieldedFile(io.RawIOBase):
    """A new file to read and write, for h5py.File(...). Look at `error` now and then, and stop when it is set."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self._file = os.fdopen(open_new(path), "wb+", buffering=0)
        self._position = 0
        self._held: list[tuple[int, bytes]] = []

    def readable(self) -> bool:
        """True: the file allows reading."""
        return True

    def writable(self) -> bool:
        """True: the file allows writing."""
        return True

    def seekable(self) -> bool:
        """True: the file allows seeking."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position; the end of the file includes what is held back."""
        if whence == io.SEEK_END:
            end = self._file.seek(0, io.SEEK_END)
            offset += max([end, *(at + len(data) for at, data in self._held)])
        elif whence == io.SEEK_CUR:
            offset += self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        """The position in bytes from the start."""
        return self._position

    def write(self, data: Any, /) -> int:
        """Write all of `data`, or hold it back; never raises."""
        view = memoryview(data).cast("B")
        try:
            if self.error is None:
                self._file.seek(self._position)
                done = 0
                while done < len(view):
                    done += self._file.write(view[done:])
        except BaseException as error:  # an interrupt, too, must not go through HDF5
            self.error = error
        if self.error is not None:
            self._held.append((self._position, bytes(view)))
        self._position += len(view)
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        """Read what was written, also where it is held back."""
        view = memoryview(buffer).cast("B")
        start = self._position
        self._file.seek(start)
        count = self._file.readinto(view)
        view[count:] = bytes(len(view) - count)
        for at, data in self._held:
            first, last = max(at, start), min(at + len(data), start + len(view))
            if first < last:
                view[first - start : last - start] = data[first - at : last - at]
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length; never raises."""
        size = self._position if size is None else size
        try:
            if self.error is None:
                self._file.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def fileno(self) -> int:
        """The descriptor that os.fsync needs."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
