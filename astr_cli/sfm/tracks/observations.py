"""Where groups of matches are seen, as flat arrays of tens of millions of rows, never copied whole."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECE = 1 << 20  # rows of the arrays that only last for a moment
ROOM = 1 << 23  # rows gathered in one array: from 32 MB on, memory goes back to the system as soon as it is free


def give_back() -> None:
    """Returns freed memory to the system: glibc keeps what many small arrays leave, half a gigabyte here."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


class Observations(NamedTuple):
    """At most one of a group in an image; positions in matched pixels."""

    group: NDArray[np.int32]  # (O,) 0..G-1, every group at least once
    image: NDArray[np.int32]  # (O,)
    position: NDArray[np.float32]  # (O, 2)
    score: NDArray[np.float32]  # (O,)


class Gatherer:
    """Collects rows of some columns and puts them together column by column.

    Rows are kept in large pieces, as memory of small arrays does not go back to the system; the unfilled part of a
    piece takes no memory.
    """

    def __init__(self, *columns: tuple[Any, tuple[int, ...]]) -> None:
        """columns: type and shape of a row of each."""
        self._kinds = columns
        self._pieces: list[list[NDArray[Any]]] = [[] for _ in columns]
        self._free = 0
        self._count = 0

    def add(self, *part: NDArray[Any]) -> None:
        """Appends rows; one array per column."""
        done, count = 0, len(part[0])
        while done < count:
            if not self._free:
                for pieces, (kind, shape) in zip(self._pieces, self._kinds, strict=True):
                    pieces.append(np.empty((ROOM, *shape), kind))
                self._free = ROOM
            more = min(count - done, self._free)
            begin = ROOM - self._free
            for pieces, column in zip(self._pieces, part, strict=True):
                pieces[-1][begin : begin + more] = column[done : done + more]
            self._free -= more
            done += more
        self._count += count

    def take(self) -> list[NDArray[Any]]:
        """The columns; the gatherer is empty then."""
        columns = []
        for pieces, (kind, shape) in zip(self._pieces, self._kinds, strict=True):
            column = np.empty((self._count, *shape), kind)
            for number, piece in enumerate(pieces):
                part = column[number * ROOM : (number + 1) * ROOM]
                part[:] = piece[: len(part)]
            pieces.clear()
            columns.append(column)
        self._free = self._count = 0
        return columns


def gather_observations() -> Gatherer:
    """With the columns of `Observations`."""
    return Gatherer((np.int32, ()), (np.int32, ()), (np.float32, (2,)), (np.float32, ()))


def sort_by_image(image: NDArray[np.int32], images: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """A stable order of rows by image (those of image `images` and beyond are left out), and where each image begins in
    it, (images + 1,). Sorted piece by piece, as NumPy's own order takes eight bytes or more per row while it works.
    """
    counts = np.zeros(images, np.int64)
    for begin in range(0, len(image), PIECE):
        counts += np.bincount(image[begin : begin + PIECE], minlength=images)[:images]
    borders = np.concatenate([[0], np.cumsum(counts)])
    order = np.empty(int(borders[-1]), np.int32)
    place = borders[:-1].copy()
    for begin in range(0, len(image), PIECE):
        piece = image[begin : begin + PIECE]
        piece_order = np.argsort(piece, kind="stable")
        found = piece[piece_order]
        piece_order = piece_order[found < images]
        found = found[found < images]
        here = np.bincount(found, minlength=images)
        within = np.arange(len(found)) - np.repeat(np.cumsum(here) - here, here)
        order[np.repeat(place, here) + within] = begin + piece_order
        place += here
    return order, borders


def reordered(column: NDArray[Any], order: NDArray[np.int32]) -> NDArray[Any]:
    """column[order], piece by piece: NumPy would first copy the order, with eight bytes per row."""
    result = np.empty((len(order), *column.shape[1:]), column.dtype)
    for begin in range(0, len(order), PIECE):
        result[begin : begin + PIECE] = column[order[begin : begin + PIECE]]
    return result
