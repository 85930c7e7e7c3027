"""The matches of many pairs, in memory or read pair by pair from a file: the input of the track builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.geometry import matched_size
from astr_cli.sfm.tracks.grid import on_the_grid
from astr_cli.store.errors import StoreError
from astr_cli.store.joining import JoinedMatches, joined_file
from astr_cli.store.matches_file import MatchesFile, stored_long_side
from astr_cli.store.types import PairMatches

REOPEN = 1000  # pairs
WAITING = 2_000_000  # matches in memory at a time, 42 MB


@dataclass(frozen=True)
class MatchedImage:
    """One image: its name, its raw size and the size that the matcher saw, both (width, height) in pixels."""

    name: str
    size: tuple[int, int]
    matched: tuple[int, int]


class PairRows(Protocol):
    """Images, pairs of them, and the matches of a pair when asked for; the same each time."""

    @property
    def images(self) -> tuple[MatchedImage, ...]:
        """Sorted by name."""

    @property
    def pairs(self) -> NDArray[np.int32]:
        """(P, 2) indices into images."""

    def read(self, pair: int) -> PairMatches:
        """The matches of a pair, by its index."""


@dataclass(frozen=True, eq=False)
class MatchRows:
    """Every match of every pair; keypoints in ORIGINAL pixels, the centre of the top-left pixel at (0, 0)."""

    images: tuple[MatchedImage, ...]  # sorted by name
    pairs: NDArray[np.int32]  # (P, 2) indices into images
    pair: NDArray[np.int32]  # (R,) index into pairs, rising
    keypoints0: NDArray[np.float32]  # (R, 2) in images[pairs[pair, 0]]
    keypoints1: NDArray[np.float32]  # (R, 2) in images[pairs[pair, 1]]
    scores: NDArray[np.float32]  # (R,)
    reference: NDArray[np.uint8]  # (R,) which of the two keypoints is the centre of a cell

    def __len__(self) -> int:
        return len(self.scores)

    def sorted(self) -> SortedRows:
        """The same rows pair by pair."""
        order = np.argsort(self.pair, kind="stable")
        return SortedRows(self, order, np.searchsorted(self.pair[order], np.arange(len(self.pairs) + 1)))


@dataclass(frozen=True, eq=False)
class SortedRows:
    """Rows in memory, pair by pair."""

    rows: MatchRows
    order: NDArray[np.int64]  # (R,) rows by pair
    borders: NDArray[np.int64]  # (P + 1,) pair p has order[borders[p]:borders[p + 1]]

    @property
    def images(self) -> tuple[MatchedImage, ...]:
        return self.rows.images

    @property
    def pairs(self) -> NDArray[np.int32]:
        return self.rows.pairs

    def read(self, pair: int) -> PairMatches:
        index = self.order[self.borders[pair] : self.borders[pair + 1]]
        rows = self.rows
        return PairMatches(rows.keypoints0[index], rows.keypoints1[index], rows.scores[index], rows.reference[index])


class StoredRows:
    """Rows that stay in the file until a pair is asked for; to be closed."""

    def __init__(
        self, file: MatchesFile | JoinedMatches, min_score: float = 0.0, max_sigma: float | None = None
    ) -> None:
        """Leaves out matches with a score below `min_score`, or a sigma that is unknown or above `max_sigma`, and
        those of a second look that lie off the grid (grid.py).

        Raises StoreError: no pair in the file, an image with two sizes, no usable long side among its attributes,
        `max_sigma` for matches that were not refined, damaged.
        """
        joined = file if isinstance(file, JoinedMatches) else joined_file(file)
        self._min_score, self._max_sigma, self._stored = min_score, max_sigma, joined.pairs
        self._waiting: dict[int, PairMatches] = {}
        self._room = WAITING
        self._sources, self._reads = joined.sources, 0
        self._stamps = {path: _stamp(path) for path in joined.paths}
        self.attributes = joined.attributes
        self._files: dict[Path, MatchesFile] = {}
        if not self._stored:
            raise StoreError(f"{joined.paths[0]}: contains no pairs; match some with astr match")
        self.images = _matched_images(joined)
        index = {matched.name: number for number, matched in enumerate(self.images)}
        self.pairs = np.array([(index[pair.name0], index[pair.name1]) for pair in self._stored], np.int32)
        self._scales = scales(self.images)
        # Tiles have cells of their own, whether there was a second look or not.
        self._looked_again = self.attributes.get("focus") == "auto" and self.attributes.get("tiles") != "true"

    def read(self, pair: int) -> PairMatches:
        """The matches of a pair, by its index. Raises StoreError: damaged.

        The track builder asks twice, once per image. Where there is room, matches stay in memory for the second time.
        """
        waiting = self._waiting.pop(pair, None)
        if waiting is not None:
            self._room += len(waiting)
            return waiting
        matches = self._read(pair)
        if len(matches) <= self._room:
            self._waiting[pair] = matches
            self._room -= len(matches)
        return matches

    def close(self) -> None:
        """Closes the files."""
        while self._files:
            self._files.popitem()[1].close()

    def _read(self, pair: int) -> PairMatches:
        stored = self._stored[pair]
        path = self._sources[pair]
        matches = self._opened(path).read(stored.name0, stored.name1)
        if self._looked_again:
            matches = matches.where(on_the_grid(matches, *self._scales[self.pairs[pair]]))
        kept = matches.scores >= self._min_score
        if self._max_sigma is not None:
            kept &= sigma_below(matches, self._max_sigma, path)
        return matches if kept.all() else matches.where(np.flatnonzero(kept))

    def _opened(self, path: Path) -> MatchesFile:
        """HDF5 gives memory back only when the file is closed: after 20,000 pairs that is 200 MB."""
        if self._reads % REOPEN == 0 and not all(file.index for file in self._files.values()):
            self.close()
        self._reads += 1
        file = self._files.get(path)
        if file is None:
            if _stamp(path) != self._stamps[path]:
                raise StoreError(f"{path}: another program changed it meanwhile; run the same command again")
            file = self._files[path] = MatchesFile(path)
        return file


def sigma_below(matches: PairMatches, limit: float, path: Path) -> NDArray[np.bool_]:
    """(M,) which matches were refined to this standard deviation. Raises StoreError: the file has none of them."""
    if matches.sigma is None:
        raise StoreError(f"{path}: its matches were not refined; match with --refine-matches to use --max-sigma")
    return np.asarray(matches.sigma <= limit, np.bool_)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def scales(images: Sequence[MatchedImage]) -> NDArray[np.float64]:
    """(N, 2) matched pixels per original pixel, x and y, of each image."""
    sizes = np.array([matched.size for matched in images], np.float64).reshape(-1, 2)
    matched = np.array([matched.matched for matched in images], np.float64).reshape(-1, 2)
    return matched / sizes


def read_rows(file: MatchesFile, min_score: float = 0.0, max_sigma: float | None = None) -> MatchRows:
    """All matches of a file but those that `StoredRows` leaves out. Raises StoreError as it does."""
    parts = []
    with closing(StoredRows(file, min_score, max_sigma)) as stored:
        for number in range(len(stored.pairs)):
            matches = stored.read(number)
            arrays = (matches.keypoints0, matches.keypoints1, matches.scores, matches.reference)
            parts.append((np.full(len(matches), number, np.int32), *arrays))
    return MatchRows(stored.images, stored.pairs, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def matched_before(attributes: Mapping[str, str], size: tuple[int, int]) -> tuple[int, int] | None:
    """The matched size of an image of `size`, by the attributes of a file of format 1, which does not hold it."""
    long_side = stored_long_side(attributes)
    if long_side is None:
        return None
    # Tiles match at full size, so a pixel of the matched photo is one of the photo.
    return size if attributes.get("tiles") == "true" else matched_size(*size, long_side)


def _matched_images(joined: JoinedMatches) -> tuple[MatchedImage, ...]:
    images: dict[str, MatchedImage] = {}
    for pair, path in zip(joined.pairs, joined.sources, strict=True):
        sides = ((pair.name0, pair.size0, pair.matched0), (pair.name1, pair.size1, pair.matched1))
        for name, size, matched in sides:
            seen = matched or matched_before(joined.attributes, size)
            if seen is None:
                text = joined.attributes.get("long_side", "")[:20]
                raise StoreError(f"{path}: the attribute long_side is '{text}', not a number; make it with astr match")
            image = MatchedImage(name, size, seen)
            known = images.setdefault(name, image)
            if known != image:
                raise StoreError(f"{path}: {_unlike(known, image)}; make it with astr match")
    return tuple(images[name] for name in sorted(images))


def _unlike(one: MatchedImage, other: MatchedImage) -> str:
    kind, (w0, h0), (w1, h1) = "", one.size, other.size
    if one.size == other.size:
        kind, (w0, h0), (w1, h1) = "matched as ", one.matched, other.matched
    return f"{one.name} is {kind}{w0}x{h0} in one pair and {w1}x{h1} in another"
