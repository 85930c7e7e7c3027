"""The index of matches.h5: names, sizes, counts and places of all pairs in a few arrays, beside the groups.

HDF5 needs a millisecond per pair to find these in the groups; from the index, a million pairs take seconds. The groups
hold all of it again, for other programs; `astr check` compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from astr_cli.names import require_name
from astr_cli.store.groups import ABSENT, EMPTY, ArrayOffsets, key_order
from astr_cli.store.plain_hdf5 import is_there, plain_dataset, plain_group
from astr_cli.store.types import ARRAYS, SIGMA, MatchEntry, StoredPair

GROUP, MARK = "astr.index", "index"
SPECS = (*ARRAYS, SIGMA)

Photo = tuple[tuple[int, int], tuple[int, int] | None, str]  # raw size, matched size, content


class Place(NamedTuple):
    """The rows of a pair, and where its arrays begin in the file, in bytes."""

    rows: int
    offsets: ArrayOffsets


@dataclass(frozen=True, eq=False)
class PairIndex:
    """All pairs of a file, sorted by their key."""

    pairs: tuple[StoredPair, ...]
    rows: NDArray[np.int64]  # (P,)
    offsets: NDArray[np.int64]  # (P, 5) of `SPECS`, as of ArrayOffsets

    def place(self, number: int) -> Place:
        """Of the pair of this number."""
        return Place(int(self.rows[number]), ArrayOffsets(*self.offsets[number].tolist()))


class IndexBuilder:
    """Collects the index while pairs are written."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._photos: list[Photo] = []
        self._pairs: list[tuple[int, int]] = []
        self._rows: list[int] = []
        self._offsets: list[ArrayOffsets] = []
        self._fits = True

    def add(self, entry: MatchEntry, offsets: ArrayOffsets) -> None:
        """Notes a pair that was written."""
        first = self._photo(entry.name0, (entry.size0, entry.matched0, entry.content0))
        second = self._photo(entry.name1, (entry.size1, entry.matched1, entry.content1))
        self._pairs.append((first, second))
        self._rows.append(len(entry.matches))
        self._offsets.append(offsets)

    def write(self, file: h5py.File) -> int | None:
        """Writes the index, unless a photo has two sizes or contents, or the name of the index.

        Returns where the size of the finished file belongs, 8 bytes from the lowest on: it tells later changes.
        """
        if not self._fits or GROUP in file:
            return None
        names = list(self._numbers)
        order = sorted(
            range(len(self._pairs)), key=lambda n: key_order((names[self._pairs[n][0]], names[self._pairs[n][1]]))
        )
        sizes = [(*size, *(matched or (0, 0))) for size, matched, _ in self._photos]
        arrays = {
            "names": _bytes(names),
            "contents": _bytes([content for *_, content in self._photos]),
            "sizes": np.array(sizes, np.int32).reshape(-1, 4),
            "pairs": np.array(self._pairs, np.int32).reshape(-1, 2)[order],
            "rows": np.array(self._rows, np.int64)[order],
            "offsets": np.array(self._offsets, np.int64).reshape(-1, len(SPECS))[order],
        }
        group = file.create_group(GROUP)
        group.attrs[MARK] = 1
        for name, array in arrays.items():
            group.create_dataset(name, data=array, track_times=False)
        size = group.create_dataset("file_bytes", data=np.zeros(1, np.int64), track_times=False)
        return int(size.id.get_offset())

    def _photo(self, name: str, photo: Photo) -> int:
        number = self._numbers.setdefault(name, len(self._numbers))
        if number == len(self._photos):
            self._photos.append(photo)
        elif self._photos[number] != photo:
            self._fits = False
        return number


def has_index(file: h5py.File) -> bool:
    """Whether the group of the index is that, and not the one of the pairs of a photo with this name."""
    return is_there(file, GROUP) and MARK in plain_group(file, GROUP).attrs


def read_index(file: h5py.File, file_bytes: int) -> PairIndex | None:
    """The index of an open file of `file_bytes`; None: it has none, or another program changed the file since.

    Raises ValueError or what h5py raises for a damaged one, NameProblem for a name that no photo may have.
    """
    if not has_index(file):
        return None
    group = plain_group(file, GROUP)
    if _array(group, "file_bytes", "i8", 1).tolist() != [file_bytes]:
        return None
    names = [require_name(name) for name in _texts(_array(group, "names", "u1", 1))]
    contents = _texts(_array(group, "contents", "u1", 1))
    sizes = _array(group, "sizes", "i4", 2)
    pairs = _array(group, "pairs", "i4", 2)
    rows, offsets = _array(group, "rows", "i8", 1), _array(group, "offsets", "i8", 2)
    if len(set(names)) != len(names) or not len(names) == len(contents) == len(sizes) or sizes.shape[1] != 4:
        raise ValueError("the photos of its index do not fit together")
    if not len(pairs) == len(rows) == len(offsets) or pairs.shape[1:] != (2,) or offsets.shape[1:] != (len(SPECS),):
        raise ValueError("the pairs of its index do not fit together")
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(names)):
        raise ValueError("its index names photos that it lacks")
    _require_inside(rows, offsets, file_bytes)
    return PairIndex(_stored(names, contents, sizes, pairs), rows, offsets)


def _stored(
    names: Sequence[str], contents: Sequence[str], sizes: NDArray[Any], pairs: NDArray[Any]
) -> tuple[StoredPair, ...]:
    if len(sizes) and (sizes[:, :2].min() < 1 or sizes[:, 2:].min() < 0):
        raise ValueError("its index holds sizes that no photo has")
    raw = [(width, height) for width, height in sizes[:, :2].tolist()]
    matched = [(width, height) if width and height else None for width, height in sizes[:, 2:].tolist()]
    return tuple(
        StoredPair(names[a], names[b], raw[a], raw[b], matched[a], matched[b], contents[a], contents[b])
        for a, b in pairs.tolist()
    )


def _require_inside(rows: NDArray[np.int64], offsets: NDArray[np.int64], file_bytes: int) -> None:
    """Arrays end inside of the file, and are there where there are rows; only sigma may be missing."""
    if len(rows) and (rows.min() < 0 or rows.max() > file_bytes):
        raise ValueError("its index holds numbers of rows that do not fit into the file")
    for column, spec in enumerate(SPECS):
        begin = offsets[:, column]
        end = begin + rows * (np.dtype(spec.dtype).itemsize * max(1, spec.columns))
        if (begin < (ABSENT if spec is SIGMA else EMPTY)).any() or (end > file_bytes).any():
            raise ValueError("its index points out of the file")
        if (rows[begin == EMPTY] > 0).any():
            raise ValueError(f"its index lacks {spec.name}")


def _array(group: h5py.Group, name: str, kind: str, dimensions: int) -> NDArray[Any]:
    array = np.asarray(plain_dataset(group, name))
    if array.dtype != np.dtype(kind) or array.ndim != dimensions:
        raise ValueError(f"{name} of its index is {array.dtype} of shape {array.shape}")
    return array


def _bytes(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without control characters, each with a line feed behind it."""
    return np.frombuffer("".join(f"{text}\n" for text in texts).encode(), np.uint8)


def _texts(data: NDArray[np.uint8]) -> list[str]:
    return data.tobytes().decode().split("\n")[:-1]
