"""Match rows of many pairs as flat arrays, the form the track builder works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astr_cli.images import working_size
from astr_cli.store import MatchesFile, StoredPair, StoreError


@dataclass(frozen=True)
class Frame:
    """One image: its name, its raw size and the size that the matcher saw, both (width, height) in pixels."""

    name: str
    size: tuple[int, int]
    working: tuple[int, int]


@dataclass(frozen=True, eq=False)
class MatchRows:
    """Every match of every pair; keypoints in ORIGINAL pixels, the centre of the top-left pixel at (0, 0)."""

    frames: tuple[Frame, ...]  # sorted by name
    pairs: NDArray[np.int32]  # (P, 2) indices into frames
    pair: NDArray[np.int32]  # (R,) index into pairs, rising
    keypoints0: NDArray[np.float32]  # (R, 2) in frames[pairs[pair, 0]]
    keypoints1: NDArray[np.float32]  # (R, 2) in frames[pairs[pair, 1]]
    scores: NDArray[np.float32]  # (R,)
    reference: NDArray[np.uint8]  # (R,) which of the two keypoints is the centre of a cell

    def __len__(self) -> int:
        return len(self.scores)


def scales(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """(N, 2) working pixels per original pixel, x and y, of each image."""
    sizes = np.array([frame.size for frame in frames], np.float64).reshape(-1, 2)
    working = np.array([frame.working for frame in frames], np.float64).reshape(-1, 2)
    return working / sizes


def read_rows(file: MatchesFile, min_score: float = 0.0) -> MatchRows:
    """All matches of a file with a score of at least `min_score`.

    Raises StoreError: no pair in it, an image with two sizes, no usable long side among its attributes, damaged.
    """
    stored = file.pairs()
    if not stored:
        raise StoreError(f"{file.path}: holds no pairs; match some with astr match")
    frames = _frames(file, stored)
    index = {frame.name: number for number, frame in enumerate(frames)}
    pairs = np.array([(index[pair.name0], index[pair.name1]) for pair in stored], np.int32)
    parts = []
    for number, pair in enumerate(stored):
        matches = file.read(pair.name0, pair.name1)
        kept = np.flatnonzero(matches.scores >= min_score)
        arrays = (matches.keypoints0, matches.keypoints1, matches.scores, matches.reference)
        parts.append((np.full(len(kept), number, np.int32), *(array[kept] for array in arrays)))
    return MatchRows(frames, pairs, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _frames(file: MatchesFile, stored: Sequence[StoredPair]) -> tuple[Frame, ...]:
    text = file.attributes.get("long_side", "")
    if not text.isdecimal() or int(text) < 1:
        raise StoreError(f"{file.path}: the attribute long_side is '{text}', not a number; make it with astr match")
    sizes: dict[str, tuple[int, int]] = {}
    for pair in stored:
        for name, size in ((pair.name0, pair.size0), (pair.name1, pair.size1)):
            if sizes.setdefault(name, size) != size:
                (w0, h0), (w1, h1) = sizes[name], size
                raise StoreError(
                    f"{file.path}: {name} is {w0}x{h0} in one pair and {w1}x{h1} in another; make it with astr match"
                )
    return tuple(Frame(name, sizes[name], working_size(*sizes[name], int(text))) for name in sorted(sizes))
