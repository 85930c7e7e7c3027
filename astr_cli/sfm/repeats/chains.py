"""Whether the matches of three photos meet: from A by way of B to C, and from A straight to C."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

MOST = 300  # matches per chain
NEAR = 0.015  # parts of the long side: a match this near continues another
SAME = 0.03  # ends this near are the same place
ELSEWHERE = 0.06  # ends further apart are different places

Floats = NDArray[np.float64]


class Matches(NamedTuple):
    """The matches of a pair in one of its two ways."""

    starts: Floats  # (M, 2) in parts of the long side
    ends: Floats  # (M, 2)
    tree: cKDTree
    """Of `starts`."""


class Meeting(NamedTuple):
    """Matches of A and C, of those with a way through B."""

    same: int
    """Where both ways end in the same place of C."""
    elsewhere: int
    """Where they do not."""


def matches_between(starts: Floats, ends: Floats) -> Matches:
    """Both (M, 2), in parts of the long sides."""
    return Matches(starts, ends, cKDTree(starts))


def meeting(first: Matches, second: Matches, straight: Matches) -> Meeting:
    """Follows matches of A and C (`straight`) by A to B (`first`) and B to C (`second`)."""
    count = len(straight.starts)
    chosen = np.linspace(0, count - 1, min(count, MOST)).astype(int)
    at, there = straight.starts[chosen], straight.ends[chosen]
    for step in (first, second):
        at, found = _followed(step, at)
        there = there[found]
    apart = np.linalg.norm(at - there, axis=1)
    return Meeting(int((apart < SAME).sum()), int((apart > ELSEWHERE).sum()))


def _followed(step: Matches, points: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Where the nearest matches lead, and which of the points have one near."""
    if not len(points):
        return points, np.zeros(0, np.intp)
    apart, nearest = step.tree.query(points, distance_upper_bound=NEAR)
    found = np.flatnonzero(np.isfinite(apart))
    nearest = nearest[found]
    return step.ends[nearest] + points[found] - step.starts[nearest], found
