"""Where tracks are seen, as flat arrays; pixels of the original photos, the centre of the first pixel at (0, 0)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Index = NDArray[np.int64]


class Observations(NamedTuple):
    """O observations of T tracks in N photos, in any order; a track has at most one per photo."""

    photo: NDArray[np.int32]  # (O,) 0..N-1
    track: NDArray[np.int32]  # (O,) 0..T-1
    xy: Floats  # (O, 2)
    pixel: Floats  # (O,) photo pixels per pixel of the photo that was matched
    sizes: NDArray[np.int32]  # (N, 2) width and height of the photos


class Groups(NamedTuple):
    """Rows sorted by a key: those of key k are order[begin[k]:begin[k + 1]]."""

    order: Index
    begin: Index

    def rows(self, key: int) -> Index:
        """The rows of one key, rising."""
        return self.order[self.begin[key] : self.begin[key + 1]]


class Common(NamedTuple):
    """The C tracks that two photos both see: their observations in one and in the other."""

    other: int  # the other photo
    mine: Index  # (C,)
    theirs: Index  # (C,)


def grouped(keys: NDArray[np.int32], count: int) -> Groups:
    """Rows by key, 0..count-1; rows of a key keep their order."""
    return Groups(np.argsort(keys, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=count))]))


def track_count(seen: Observations) -> int:
    """T."""
    return int(seen.track.max(initial=-1)) + 1


def expanded(groups: Groups, keys: NDArray[np.int32]) -> tuple[Index, Index]:
    """All rows of each of K keys: for each row found, its place among the keys, and the row."""
    counts = groups.begin[keys + 1] - groups.begin[keys]
    place = np.repeat(np.arange(len(keys)), counts)
    within = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place, groups.order[groups.begin[keys][place] + within]


def common_tracks(seen: Observations, of_track: Groups, mine: Index) -> Iterator[Common]:
    """What a photo with the observations `mine` has in common with each other photo, by its number, rising."""
    place, theirs = expanded(of_track, seen.track[mine])
    different = seen.photo[theirs] != seen.photo[mine][place]
    place, theirs = place[different], theirs[different]
    order = np.argsort(seen.photo[theirs], kind="stable")
    photos = seen.photo[theirs[order]]
    borders = np.flatnonzero(np.diff(photos, prepend=-1, append=-1))
    for begin, end in pairwise(borders):
        part = order[begin:end]
        yield Common(int(photos[begin]), mine[place[part]], theirs[part])
