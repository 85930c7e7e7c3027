"""Joins overlapping stars into longer tracks, many at once.

Two groups of stars may join when they come within the radius in at least one image and lie further apart in none.
Joining neighbour to neighbour would drift along a chain of small steps, so linkage is complete: whatever a group holds
in one image must fit into the radius, in every image, or the join is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """Observations sorted by (group, image), at most one for each; positions in working pixels."""

    group: Ints  # (O,) 0..G-1, every group at least once
    image: NDArray[np.int32]  # (O,)
    total: NDArray[np.float64]  # (O, 2) sum of the positions of the stars in it
    members: NDArray[np.float64]  # (O,) how many stars that are
    low: NDArray[np.float64]  # (O, 2) bounds of those positions
    high: NDArray[np.float64]  # (O, 2)
    score: NDArray[np.float32]  # (O,) the best of theirs

    def __len__(self) -> int:
        return len(self.image)

    @property
    def position(self) -> NDArray[np.float64]:
        """(O, 2): every star counts the same in every image, so means stay projections of one point."""
        return self.total / self.members[:, None]

    def rows(self, index: Ints) -> Table:
        return Table(*(getattr(self, field.name)[index] for field in fields(self)))


def star_table(
    star: Ints, image: NDArray[np.int32], position: NDArray[np.float64], score: NDArray[np.float32]
) -> Table:
    """The table before any join: one group a star. Rows must be sorted by (star, image), without repeats."""
    return Table(star, image, position, np.ones(len(star)), position, position, score)


def merge_stars(table: Table, radius: float) -> tuple[Table, Ints]:
    """Joins groups within `radius` (working pixels); returns the joined table and the new group of every old one.

    Each round joins every two groups that prefer each other to all others, which comes to the same as joining one
    pair after another, best first. A refused pair of stars is not tried again.
    """
    starts = np.flatnonzero(np.diff(table.group, prepend=-1))
    counts = np.diff(starts, append=len(table))
    owner = np.arange(len(starts))
    first, second = _candidates(table, radius) if len(table) and radius > 0 else (owner[:0], owner[:0])
    while len(first):
        chosen = _mutual_best(first, second, len(starts))
        a, b = first[chosen], second[chosen]
        joined, fits = _join(table, a, b, starts, counts, radius)
        a, b = a[fits], b[fits]
        new = np.flatnonzero(np.diff(joined.group, prepend=-1))
        starts[a], counts[a], counts[b] = new + len(table), np.diff(new, append=len(joined)), 0
        table = _concatenate(table, joined)
        root = np.arange(len(starts))
        root[b] = a
        owner = root[owner]
        alive = np.ones(len(first), bool)
        alive[chosen] = False
        first, second = root[first[alive]], root[second[alive]]
        apart = first != second
        first, second = first[apart], second[apart]
    left = np.flatnonzero(counts)
    result = table.rows(_ragged(starts[left], counts[left]))
    number = np.cumsum(counts > 0) - 1
    groups = np.repeat(np.arange(len(left)), counts[left])
    return Table(groups, *(getattr(result, field.name) for field in fields(Table)[1:])), number[owner]


def _candidates(table: Table, radius: float) -> tuple[Ints, Ints]:
    """Pairs of stars that meet somewhere, (C,) and (C,): most meeting images first, then nearest, then by number."""
    found = [*_meetings(table, radius)]
    pairs, distances = (np.concatenate(column) for column in zip(*found, strict=True))
    groups = np.int64(table.group[-1]) + 1
    keys, inverse, meetings = np.unique(pairs[:, 0] * groups + pairs[:, 1], return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, distances, len(keys)) / meetings
    best = np.lexsort((keys, mean, -meetings))
    return keys[best] // groups, keys[best] % groups


def _meetings(table: Table, radius: float) -> Iterator[tuple[Ints, NDArray[np.float64]]]:
    """For each image the pairs of stars within the radius, (K, 2) the lower number first, and their distances."""
    order = np.argsort(table.image, kind="stable")
    edges = np.flatnonzero(np.diff(table.image[order], prepend=-1, append=-1))
    position = table.position
    for begin, end in pairwise(edges):
        rows = order[begin:end]
        near = rows[cKDTree(position[rows]).query_pairs(radius, output_type="ndarray")]
        distances = np.linalg.norm(position[near[:, 0]] - position[near[:, 1]], axis=1)
        yield np.sort(table.group[near], axis=1), distances


def _mutual_best(first: Ints, second: Ints, groups: int) -> Ints:
    """Indices of the candidates (best first) that are the first choice of both their groups; at least the first one."""
    rank = np.arange(len(first))
    best = np.full(groups, len(first))
    np.minimum.at(best, first, rank)
    np.minimum.at(best, second, rank)
    return np.flatnonzero((best[first] == rank) & (best[second] == rank))


def _join(table: Table, a: Ints, b: Ints, starts: Ints, counts: Ints, radius: float) -> tuple[Table, NDArray[np.bool_]]:
    """Rows of the joined groups, numbered as the fitting ones of (a[k], b[k]), and which of the K pairs fit."""
    pair = np.repeat(np.tile(np.arange(len(a)), 2), np.concatenate([counts[a], counts[b]]))
    rows = table.rows(np.concatenate([_ragged(starts[a], counts[a]), _ragged(starts[b], counts[b])]))
    order = np.lexsort((rows.image, pair))
    rows, pair = rows.rows(order), pair[order]
    begin = np.flatnonzero((np.diff(pair, prepend=-1) != 0) | (np.diff(rows.image, prepend=-1) != 0))
    low, high = np.minimum.reduceat(rows.low, begin), np.maximum.reduceat(rows.high, begin)
    fits = np.ones(len(a), bool)
    fits[pair[begin][np.linalg.norm(high - low, axis=1) > radius]] = False
    joined = Table(
        pair[begin],
        rows.image[begin],
        np.add.reduceat(rows.total, begin),
        np.add.reduceat(rows.members, begin),
        low,
        high,
        np.maximum.reduceat(rows.score, begin),
    ).rows(np.flatnonzero(fits[pair[begin]]))
    return joined, fits


def _ragged(starts: Ints, counts: Ints) -> Ints:
    """All of range(start, start + count), one after another."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - ends + counts, counts)


def _concatenate(one: Table, two: Table) -> Table:
    return Table(*(np.concatenate([getattr(one, field.name), getattr(two, field.name)]) for field in fields(one)))
