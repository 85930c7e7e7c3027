"""Joins overlapping stars into longer tracks, many at once.

Two groups of stars may join when they come within the radius in at least one image and lie further apart in none.
Joining neighbour to neighbour would drift along a chain of small steps, so linkage is complete: all points of a group
in one image must fit into the radius, in every image, or the join is refused.

Stars that no chain of meetings connects cannot join, so the joining works on some such families at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from astr_cli.sfm.tracks.observations import PIECE, Gatherer, Observations, sort_by_image

Ints = NDArray[np.int64]
BATCH = 200_000  # observations joined at a time, 16 MB and some times that while they are sorted
MEETINGS = 4_000_000  # of two stars in an image, held before those of the same two are summed up


def merge_stars(stars: Observations, radius: float) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Joins stars within `radius` (matched pixels), in place: memory has no room for two copies.

    stars: sorted by (group, image); afterwards those of them that the result, (O,) booleans, marks are the joined
    groups, in no order. Also returns the group of every star. A group's position in an image is the mean of its stars':
    each counts the same in every image, so means stay projections of one point. Its score is the best of theirs.
    """
    count = int(stars.group[-1]) + 1 if len(stars.group) else 0
    root = np.arange(count, dtype=np.int32)
    first, second = _candidates(stars, radius) if count and radius > 0 else (root[:0], root[:0])
    kept = np.ones(len(stars.group), bool)
    if not len(first):
        return kept, root
    starts = np.searchsorted(stars.group, np.arange(count + 1, dtype=np.int32))
    for family, links in _families(first, second, starts):
        places = _ragged(starts[family], starts[family + 1] - starts[family])
        table = _table(stars, places)
        a, b = np.searchsorted(family, first[links]), np.searchsorted(family, second[links])
        groups, owner = join(table, a, b, radius)
        root[family] = family[owner]
        # A group has no more observations than its stars had: it takes their room.
        kept[places[len(groups.group) :]] = False
        places = places[: len(groups.group)]
        stars.group[places] = family[groups.group]
        stars.image[places], stars.position[places], stars.score[places] = groups[1:]
    number = np.cumsum(root == np.arange(count), dtype=np.int32) - np.int32(1)
    for begin in range(0, len(stars.group), PIECE):
        piece = slice(begin, begin + PIECE)
        stars.group[piece] = number[stars.group[piece]]
    return kept, number[root]


class Meetings(NamedTuple):
    """Which two stars come within the radius, in how many images."""

    keys: Ints  # (K,) lower number * stars + higher
    images: NDArray[np.int32]  # (K,)
    distance: NDArray[np.float32]  # (K,) sum over these images


def _candidates(stars: Observations, radius: float) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pairs of stars that meet somewhere, (C,) and (C,): most meeting images first, then nearest, then by number."""
    groups = np.int64(stars.group[-1]) + 1
    gathered = Gatherer((np.int64, ()), (np.int32, ()), (np.float32, ()))
    summed = waiting = 0
    for found in _meetings(stars, radius):
        gathered.add(*found)
        waiting += len(found.keys)
        if waiting > max(MEETINGS, summed):
            total = _sum_up(Meetings(*gathered.take()))
            gathered.add(*total)
            summed, waiting = len(total.keys), 0
            del total
    met = _sum_up(Meetings(*gathered.take()))
    best = np.lexsort((met.keys, met.distance / met.images, -met.images))
    return (met.keys[best] // groups).astype(np.int32), (met.keys[best] % groups).astype(np.int32)


def _meetings(stars: Observations, radius: float) -> Iterator[Meetings]:
    """The meetings of one image after another."""
    groups = np.int64(stars.group[-1]) + 1
    order, borders = sort_by_image(stars.image, int(stars.image.max()) + 1)
    for begin, end in pairwise(borders):
        rows = order[begin:end]
        position = stars.position[rows].astype(np.float64)
        near = cKDTree(position).query_pairs(radius, output_type="ndarray") if len(rows) else np.zeros((0, 2), int)
        distance = np.linalg.norm(position[near[:, 0]] - position[near[:, 1]], axis=1)
        ends = stars.group[rows][near].astype(np.int64)
        keys = np.minimum(ends[:, 0], ends[:, 1]) * groups + np.maximum(ends[:, 0], ends[:, 1])
        yield Meetings(keys, np.ones(len(keys), np.int32), distance.astype(np.float32))


def _sum_up(met: Meetings) -> Meetings:
    """Each two stars once, sorted."""
    order = np.argsort(met.keys, kind="stable")
    keys = met.keys[order]
    new = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    begin = np.flatnonzero(new)
    if not len(begin):
        return met
    keys = keys[begin]  # before the columns are sorted: all of them together take the most room
    return Meetings(keys, *(np.add.reduceat(column[order], begin) for column in met[1:]))


def _families(first: NDArray[np.int32], second: NDArray[np.int32], starts: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Stars that meetings connect, some whole families at a time: their numbers, rising, and their candidates."""
    count = len(starts) - 1
    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    labels = connected_components(links, directed=False)[1]
    members = np.unique(np.concatenate([first, second]))
    sizes = np.bincount(labels[members], np.diff(starts)[members])
    part = np.cumsum(sizes) // BATCH
    of_member, of_link = part[labels[members]].astype(np.int32), part[labels[first]].astype(np.int32)
    member_order, link_order = np.argsort(of_member, kind="stable"), np.argsort(of_link, kind="stable")
    parts = np.unique(of_member)
    member_edges = (
        np.searchsorted(of_member[member_order], parts),
        np.searchsorted(of_member[member_order], parts, "right"),
    )
    link_edges = np.searchsorted(of_link[link_order], parts), np.searchsorted(of_link[link_order], parts, "right")
    for a, b, c, d in zip(*member_edges, *link_edges, strict=True):
        yield members[member_order[a:b]], link_order[c:d]


class Table(NamedTuple):
    """Observations sorted by (group, image) with the sums that joining needs; positions in matched pixels."""

    group: Ints  # (O,) 0..G-1, every group at least once
    image: NDArray[np.int32]  # (O,)
    total: NDArray[np.float64]  # (O, 2) sum of the positions of the stars in it
    members: NDArray[np.float64]  # (O,) how many stars that are
    low: NDArray[np.float64]  # (O, 2) bounds of those positions
    high: NDArray[np.float64]  # (O, 2)
    score: NDArray[np.float32]  # (O,) the best of theirs


class Shelf:
    """Tables one behind the other, with room for more."""

    def __init__(self, table: Table) -> None:
        self._columns: list[NDArray[Any]] = list(table)
        self.used = len(table.group)

    def rows(self, index: Ints) -> Table:
        """Some of all their rows."""
        return Table(*(column[index] for column in self._columns))

    @property
    def image(self) -> NDArray[np.int32]:
        """Of all rows, and of those that are still free."""
        return self._columns[1]

    def add(self, table: Table) -> None:
        """Appends a table."""
        end = self.used + len(table.group)
        for number, column in enumerate(table):
            if end > len(self._columns[number]):
                old = self._columns[number]
                self._columns[number] = np.empty((end + end // 2, *old.shape[1:]), old.dtype)
                self._columns[number][: self.used] = old[: self.used]
            self._columns[number][self.used : end] = column
        self.used = end


def _table(stars: Observations, places: Ints) -> Table:
    """Some whole stars before any join, one group per star, numbered in order."""
    position = stars.position[places].astype(np.float64)
    group = np.cumsum(np.diff(stars.group[places], prepend=stars.group[places[0]]) != 0)
    return Table(group, stars.image[places], position, np.ones(len(places)), position, position, stars.score[places])


def join(table: Table, first: Ints, second: Ints, radius: float) -> tuple[Observations, Ints]:
    """Joins groups by the candidates (first[k], second[k]), best first; groups keep the number of one of their stars.

    Each round joins every two groups that prefer each other to all others, which comes to the same as joining one
    pair after another, best first. A refused pair of stars is not tried again.
    """
    starts = np.flatnonzero(np.diff(table.group, prepend=-1))
    counts = np.diff(starts, append=len(table.group))
    owner = np.arange(len(starts))
    shelf = Shelf(table)
    while len(first):
        chosen = _mutual_best(first, second, len(starts))
        a, b = first[chosen], second[chosen]
        joined, fits = _join(shelf, a, b, starts, counts, radius)
        a, b = a[fits], b[fits]
        new = np.flatnonzero(np.diff(joined.group, prepend=-1))
        starts[a], counts[a], counts[b] = new + shelf.used, np.diff(new, append=len(joined.group)), 0
        shelf.add(joined)
        root = np.arange(len(starts))
        root[b] = a
        owner = root[owner]
        alive = np.ones(len(first), bool)
        alive[chosen] = False
        first, second = root[first[alive]], root[second[alive]]
        apart = first != second
        first, second = first[apart], second[apart]
    left = np.flatnonzero(counts)
    rows = shelf.rows(_ragged(starts[left], counts[left]))
    position = (rows.total / rows.members[:, None]).astype(np.float32)
    return Observations(np.repeat(left, counts[left]), rows.image, position, rows.score), owner


def _mutual_best(first: Ints, second: Ints, groups: int) -> Ints:
    """Indices of the candidates (best first) that are the first choice of both their groups; at least the first one."""
    rank = np.arange(len(first))
    best = np.full(groups, len(first))
    np.minimum.at(best, first, rank)
    np.minimum.at(best, second, rank)
    return np.flatnonzero((best[first] == rank) & (best[second] == rank))


def _join(shelf: Shelf, a: Ints, b: Ints, starts: Ints, counts: Ints, radius: float) -> tuple[Table, NDArray[np.bool_]]:
    """Rows of the joined groups, numbered as the fitting ones of (a[k], b[k]), and which of the K pairs fit."""
    pair = np.repeat(np.tile(np.arange(len(a)), 2), np.concatenate([counts[a], counts[b]]))
    index = np.concatenate([_ragged(starts[a], counts[a]), _ragged(starts[b], counts[b])])
    keys = (pair << 32) | shelf.image[index]
    order = np.argsort(keys)
    keys, rows = keys[order], shelf.rows(index[order])
    begin = np.flatnonzero(np.diff(keys, prepend=-1))
    low, high = np.minimum.reduceat(rows.low, begin), np.maximum.reduceat(rows.high, begin)
    fits = np.ones(len(a), bool)
    fits[keys[begin[((high - low) ** 2).sum(1) > radius**2]] >> 32] = False
    fit = fits[keys[begin] >> 32]
    joined = Table(
        (keys[begin] >> 32)[fit],
        rows.image[begin][fit],
        np.add.reduceat(rows.total, begin)[fit],
        np.add.reduceat(rows.members, begin)[fit],
        low[fit],
        high[fit],
        np.maximum.reduceat(rows.score, begin)[fit],
    )
    return joined, fits


def _ragged(starts: Ints, counts: Ints) -> Ints:
    """All of range(start, start + count), one after another."""
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - ends + counts, counts)
