"""Which pairs, and which matches, are wrong: those that lead elsewhere than the more trustworthy pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.repeats.pairs import FEWEST as FEWEST_INLIERS
from astr_cli.sfm.repeats.pairs import VerifiedPair
from astr_cli.sfm.repeats.places import TrustedPairs

FEWEST = 12  # followed matches that end elsewhere; fewer may be outliers
ELSEWHERE = 0.5  # share of the followed matches; with fewer the pair is right, but for those matches
SURE = 2.0  # standard deviations of a coin's heads: of few followed matches, most may end elsewhere by chance


class MisledPair(NamedTuple):
    """A pair with matches that others contradict."""

    image0: int
    image1: int
    astray: NDArray[np.bool_]
    """(M,) its matches that end elsewhere in other photos."""
    followed: int

    @property
    def elsewhere(self) -> int:
        """How many matches end elsewhere."""
        return int(self.astray.sum())

    @property
    def wrong(self) -> bool:
        """Whether the whole pair is, and not these matches alone."""
        return self.elsewhere >= FEWEST and self.elsewhere > ELSEWHERE * self.followed

    @property
    def surely(self) -> bool:
        """Whether the pair is wrong, and hardly by chance; one such pair in a set shows that things repeat there."""
        return self.wrong and self.elsewhere - ELSEWHERE * self.followed > SURE * 0.5 * self.followed**0.5

    @property
    def reason(self) -> str:
        """Why it is wrong, in words."""
        return f"{self.elsewhere} of {self.followed} matches end elsewhere when followed through other photos"


def judge(
    pairs: Sequence[VerifiedPair], doubts: NDArray[np.float64], alive: Callable[[], None] = lambda: None
) -> list[MisledPair]:
    """Takes pairs with the smallest doubts first (of equal ones, that with more matches), without the matches that the
    pairs taken before contradict, and leaves out those of which they contradict most.

    Rows of like windows lie along the lines on which photos move, so right pairs too have matches that are shifted by a
    window or two. If they were taken with them, later pairs would be judged by them.

    doubts: (P,) how much is missing in each. No photo loses its connection, as only pairs that connect its two photos
    already can contradict a pair. alive: called before each pair. Returns the pairs that were not taken whole, by
    number.
    """
    trusted = TrustedPairs()
    misled = []
    for number in np.lexsort((-np.array([len(pair.points0) for pair in pairs]), doubts)).tolist():
        alive()
        pair = pairs[number]
        met = trusted.meeting(pair)
        found = MisledPair(pair.image0, pair.image1, met.elsewhere, int((met.same | met.elsewhere).sum()))
        if found.elsewhere:
            misled.append(found)
        kept = pair.chosen(~met.elsewhere)
        if not found.wrong and len(kept.points0) >= FEWEST_INLIERS:
            trusted.add(kept)
    return sorted(misled, key=lambda found: (found.image0, found.image1))
