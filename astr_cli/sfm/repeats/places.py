"""Where points of a photo lie in other photos, followed along trusted pairs, and whether a further pair agrees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astr_cli.sfm.repeats.pairs import VerifiedPair

STEPS = 6  # pairs in a row; errors grow with each
NEAR = 0.015  # parts of the long side: a match this near continues another
SAME = 0.03  # places this near are the same
ELSEWHERE = 0.06  # places further apart are different

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]
Mask = NDArray[np.bool_]


class Meeting(NamedTuple):
    """(M,) matches of a pair whose two ends were followed into the same photos."""

    same: Mask
    """The ends meet."""
    elsewhere: Mask
    """They do not: the match puts one thing in two places."""

    @property
    def counts(self) -> tuple[int, int]:
        """How many end elsewhere, and how many could be followed."""
        elsewhere = int(self.elsewhere.sum())
        return elsewhere, elsewhere + int(self.same.sum())


class _Way(NamedTuple):
    """A pair in one of its two directions."""

    starts: Floats  # (M, 2) in parts of the long side
    ends: Floats  # (M, 2)
    tree: cKDTree
    """Of `starts`."""


class TrustedPairs:
    """The pairs that were taken so far, by photo."""

    def __init__(self, pairs: Iterable[VerifiedPair] = ()) -> None:
        self._ways: dict[int, dict[int, _Way]] = {}
        for pair in pairs:
            self.add(pair)

    def add(self, pair: VerifiedPair) -> None:
        """Trusts one more pair, or further matches of a pair."""
        known = self._ways.get(pair.image0, {}).get(pair.image1)
        points0 = pair.points0 if known is None else np.concatenate([known.starts, pair.points0])
        points1 = pair.points1 if known is None else np.concatenate([known.ends, pair.points1])
        self._ways.setdefault(pair.image0, {})[pair.image1] = _Way(points0, points1, cKDTree(points0))
        self._ways.setdefault(pair.image1, {})[pair.image0] = _Way(points1, points0, cKDTree(points1))

    def connect(self, image0: int, image1: int) -> bool:
        """Whether trusted pairs lead from one photo to the other, over any number of photos."""
        reached, last = {image0}, {image0}
        while last and image1 not in reached:
            last = {there for here in last for there in self._ways.get(here, {})} - reached
            reached |= last
        return image1 in reached

    def meeting(self, pair: VerifiedPair) -> Meeting:
        """Follows both ends of the pair's matches, and compares their places in every photo that both reach."""
        first = self.places(pair.image0, pair.points0)
        second = self.places(pair.image1, pair.points1)
        near, far = np.zeros(len(pair.points0), int), np.zeros(len(pair.points0), int)
        for image in first.keys() & second.keys():
            apart = np.linalg.norm(first[image] - second[image], axis=1)
            near += apart < SAME  # NaN, where one is not seen, is neither
            far += apart > ELSEWHERE
        return Meeting(near > far, far > near)

    def places(self, image: int, points: Floats) -> dict[int, Floats]:
        """Of (N, 2) points of a photo, in each photo that trusted pairs reach: (N, 2), NaN where none leads."""
        found = {image: points}
        reached = {image: np.arange(len(points))}
        for _ in range(STEPS):
            after: dict[int, list[Numbers]] = {}
            for here, numbers in reached.items():
                for there, way in self._ways.get(here, {}).items():
                    places = found.setdefault(there, np.full_like(points, np.nan))
                    new = numbers[np.isnan(places[numbers, 0])]
                    if not len(new):
                        continue
                    ends, followed = _followed(way, found[here][new])
                    places[new[followed]] = ends
                    after.setdefault(there, []).append(new[followed])
            reached = {there: np.concatenate(parts) for there, parts in after.items()}
            if not any(map(len, reached.values())):
                break
        return found


def _followed(way: _Way, points: Floats) -> tuple[Floats, Numbers]:
    """Where the nearest matches lead, and which of the points have one near."""
    apart, nearest = way.tree.query(points, distance_upper_bound=NEAR)
    found = np.flatnonzero(np.isfinite(apart))
    nearest = nearest[found]
    return way.ends[nearest] + points[found] - way.starts[nearest], found
