"""Joins overlapping stars into longer tracks, many at once.

Two groups of stars may join when they come within the radius in at least one image and lie further apart in none.
Joining neighbour to neighbour would drift along a chain of small steps, so linkage is complete: whatever a group holds
in one image must fit into the radius, in every image, or the join is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Table:
    """Observations sorted by (group, image), at most one for each; positions in working pixels."""

    group: np.ndarray  # (O,) int64, 0..G-1, every group at least once
    image: np.ndarray  # (O,) int32
    total: np.ndarray  # (O, 2) float64, sum of the positions of the stars in it
    members: np.ndarray  # (O,) float64, how many stars that are
    low: np.ndarray  # (O, 2) float64, bounds of those positions
    high: np.ndarray  # (O, 2) float64
    score: np.ndarray  # (O,) float32, the best of theirs

    def __len__(self) -> int:
        return len(self.image)

    @property
    def position(self) -> np.ndarray:
        """(O, 2) float64: every star counts the same in every image, so means stay projections of one point."""
        return self.total / self.members[:, None]

    def rows(self, index: np.ndarray) -> Table:
        return Table(*(getattr(self, field.name)[index] for field in fields(self)))


def star_table(star: np.ndarray, image: np.ndarray, position: np.ndarray, score: np.ndarray) -> Table:
    """The table before any join: one group a star. Rows must be sorted by (star, image), without repeats."""
    return Table(star, image, position, np.ones(len(star)), position, position, score)


def merge_stars(table: Table, radius: float) -> Table:
    """Joins groups within `radius` (working pixels); the groups of the result are numbered anew.

    Each round joins every two groups that prefer each other to all others, which comes to the same as joining one
    pair after another, best first. A refused pair of stars is not tried again.
    """
    if not len(table) or radius <= 0:
        return table
    starts = np.flatnonzero(np.diff(table.group, prepend=-1))
    counts = np.diff(starts, append=len(table))
    first, second = _candidates(table, radius)
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
        alive = np.ones(len(first), bool)
        alive[chosen] = False
        first, second = root[first[alive]], root[second[alive]]
        apart = first != second
        first, second = first[apart], second[apart]
    left = np.flatnonzero(counts)
    result = table.rows(_ragged(starts[left], counts[left]))
    return Table(np.repeat(np.arange(len(left)), counts[left]), *(getattr(result, f.name) for f in fields(result)[1:]))


def _candidates(table: Table, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of stars that meet somewhere, (C,) and (C,) int64: most meeting images first, then nearest, then number."""
    order = np.argsort(table.image, kind="stable")
    edges = np.flatnonzero(np.diff(table.image[order], prepend=-1, append=-1))
    position = table.position
    near, distance = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        rows = order[begin:end]
        found = rows[cKDTree(position[rows]).query_pairs(radius, output_type="ndarray")]
        distance.append(np.linalg.norm(position[found[:, 0]] - position[found[:, 1]], axis=1))
        near.append(np.sort(table.group[found], axis=1))
    pairs, distances = np.concatenate(near), np.concatenate(distance)
    groups = np.int64(table.group[-1]) + 1
    keys, inverse, meetings = np.unique(pairs[:, 0] * groups + pairs[:, 1], return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, distances, len(keys)) / meetings
    best = np.lexsort((keys, mean, -meetings))
    return keys[best] // groups, keys[best] % groups


def _mutual_best(first: np.ndarray, second: np.ndarray, groups: int) -> np.ndarray:
    """Indices of the candidates (best first) that are the first choice of both their groups; at least the first one."""
    rank = np.arange(len(first))
    best = np.full(groups, len(first))
    np.minimum.at(best, first, rank)
    np.minimum.at(best, second, rank)
    return np.flatnonzero((best[first] == rank) & (best[second] == rank))


def _join(
    table: Table, a: np.ndarray, b: np.ndarray, starts: np.ndarray, counts: np.ndarray, radius: float
) -> tuple[Table, np.ndarray]:
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


def _ragged(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """All of range(start, start + count), one after another."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - ends + counts, counts)


def _concatenate(one: Table, two: Table) -> Table:
    return Table(*(np.concatenate([getattr(one, field.name), getattr(two, field.name)]) for field in fields(one)))
