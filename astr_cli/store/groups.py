"""Writing the group of a pair by h5py's low-level calls: the same content as by its usual ones, in a third of the time.

tests/store/test_groups.py holds the plain twin.
"""

from __future__ import annotations

from typing import NamedTuple

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5s, h5t
from numpy.typing import NDArray

from astr_cli.store.types import ARRAYS, SIGMA, MatchEntry, problem_of

ABSENT, EMPTY = -1, 0  # offsets of an array that is not there, and of one without bytes


def pair_group(name0: str, name1: str) -> str:
    """The HDF5 group of a pair: hloc's key (docs/formats.md, Pair keys)."""
    return f"{name0.replace('/', '-')}/{name1.replace('/', '-')}"


def key_order(names: tuple[str, str]) -> tuple[bytes, bytes]:
    """Sorts pairs as HDF5 lists their groups: by the bytes of the outer group's name, then of the inner one's."""
    outer, inner = pair_group(*names).split("/")
    return outer.encode(), inner.encode()


class ArrayOffsets(NamedTuple):
    """Where the arrays of a pair begin in the file, in bytes."""

    keypoints0: int
    keypoints1: int
    scores: int
    reference: int
    sigma: int = ABSENT


class GroupWriter:
    """Writes pairs into an open file."""

    def __init__(self, file: h5py.File) -> None:
        self._root = self._folder = file.id
        self._outer = b""  # the group that `_folder` is
        self._texts: dict[int, h5t.TypeID] = {}
        self._two, self._scalar = h5s.create_simple((2,)), h5s.create(h5s.SCALAR)
        self._plain = h5p.create(h5p.DATASET_CREATE)
        self._plain.set_obj_track_times(False)
        self._types = {spec: h5t.py_create(np.dtype(spec.dtype)) for spec in (*ARRAYS, SIGMA)}

    def write(self, key: str, entry: MatchEntry) -> ArrayOffsets:
        """Writes a pair as the group `key`. Raises ValueError: the key is taken, or arrays that may not be stored."""
        columns = entry.matches.columns()
        problem = problem_of(list(columns.values()))
        if problem is not None:
            raise ValueError(f"{entry.name0} {entry.name1}: {problem}")
        outer, inner = key.encode().split(b"/")
        if outer != self._outer:  # pairs come sorted
            found = outer in self._root
            self._outer, self._folder = outer, h5g.open(self._root, outer) if found else h5g.create(self._root, outer)
        if inner in self._folder:
            raise ValueError(f"two pairs with the key {key}")
        group = h5g.create(self._folder, inner)
        self._attributes(group, entry)
        return ArrayOffsets(*(self._array(group, spec.name, self._types[spec], columns[spec]) for spec in columns))

    def _attributes(self, group: h5g.GroupID, entry: MatchEntry) -> None:
        self._text(group, b"name0", entry.name0)
        self._text(group, b"name1", entry.name1)
        self._size(group, b"size0", entry.size0)
        self._size(group, b"size1", entry.size1)
        if entry.matched0 is not None and entry.matched1 is not None:
            self._size(group, b"matched0", entry.matched0)
            self._size(group, b"matched1", entry.matched1)
        for name, content in ((b"content0", entry.content0), (b"content1", entry.content1)):
            if content:
                self._text(group, name, content)

    def _array(self, group: h5g.GroupID, name: str, kind: h5t.TypeID, array: NDArray[np.generic]) -> int:
        dataset = h5d.create(group, name.encode(), kind, h5s.create_simple(array.shape), dcpl=self._plain)
        if not array.size:
            return EMPTY
        dataset.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(array))
        return int(dataset.get_offset())

    def _text(self, group: h5g.GroupID, name: bytes, value: str) -> None:
        """UTF-8 of fixed length, as `_write_text` of writer.py."""
        data = value.encode()
        size = max(1, len(data))
        if size not in self._texts:
            kind = h5t.C_S1.copy()
            kind.set_size(size)
            kind.set_strpad(h5t.STR_NULLPAD)
            kind.set_cset(h5t.CSET_UTF8)
            self._texts[size] = kind
        attribute = h5a.create(group, name, self._texts[size], self._scalar)
        attribute.write(np.array(data, f"S{size}"), mtype=self._texts[size])

    def _size(self, group: h5g.GroupID, name: bytes, size: tuple[int, int]) -> None:
        h5a.create(group, name, h5t.STD_I32LE, self._two).write(np.array(size, np.int32))
