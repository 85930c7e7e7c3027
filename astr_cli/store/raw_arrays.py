"""Reading the arrays of a pair at their place in a file, without HDF5: the fast twin of reading its datasets."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astr_cli.store.groups import ABSENT
from astr_cli.store.index import SPECS, Place


class RawArrays:
    """The bytes of a file, for arrays whose place is known. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._status = os.fstat(self._file.fileno())
        self.bytes = self._status.st_size

    def is_file(self, path: Path) -> bool:
        """Whether the file still has that name."""
        return os.path.samestat(self._status, path.stat())

    def read(self, place: Place) -> list[NDArray[Any]]:
        """The arrays of a pair, in the order of `SPECS`; sigma only where it is."""
        arrays = []
        for spec, offset in zip(SPECS, place.offsets, strict=True):
            if offset == ABSENT:
                break
            kind = np.dtype(spec.dtype)
            data = bytearray(place.rows * kind.itemsize * max(1, spec.columns))
            if data:
                self._file.seek(offset)
                data = bytearray(self._file.read(len(data)))  # a shorter one is refused by its shape
            arrays.append(np.frombuffer(data, kind).reshape(spec.shape(place.rows)))
        return arrays

    def close(self) -> None:
        """Close the file."""
        self._file.close()
