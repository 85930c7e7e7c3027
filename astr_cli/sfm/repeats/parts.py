"""The coherent parts of a pair, which are right or wrong as a whole: one house beside itself, and beside its copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from astr_cli.sfm.repeats.pairs import FEWEST, VerifiedPair

TOGETHER = 0.06  # parts of the long side, both photos together: matches this near belong to one part
NEIGHBOURS = 16  # matches that are looked at

Numbers = NDArray[np.intp]


class Part(NamedTuple):
    """Matches of one pair that hang together."""

    pair: int
    """Its number."""
    matches: Numbers
    """(K,) of the pair's matches."""
    shown: VerifiedPair
    """The pair with these matches alone."""


def coherent_parts(pairs: Sequence[VerifiedPair]) -> list[Part]:
    """The parts of all pairs with as many matches as a pair needs; loose matches belong to none."""
    found = []
    for number, pair in enumerate(pairs):
        labels = _labels(pair)
        for label in np.flatnonzero(np.bincount(labels) >= FEWEST):
            matches = np.flatnonzero(labels == label)
            found.append(Part(number, matches, pair.chosen(matches)))
    return found


def _labels(pair: VerifiedPair) -> Numbers:
    """(M,) number of the part; matches are together if both of their ends are."""
    ends = np.hstack([pair.points0, pair.points1])
    count = len(ends)
    _, near = cKDTree(ends).query(ends, k=min(NEIGHBOURS, count), distance_upper_bound=TOGETHER)
    first, which = np.nonzero(near < count)  # missing neighbours have the number `count`
    graph = coo_array((np.ones(len(first)), (first, near[first, which])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.intp)
