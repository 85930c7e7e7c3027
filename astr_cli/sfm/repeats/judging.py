"""Which pairs are wrong: those that lead elsewhere than the more trustworthy pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.repeats.pairs import VerifiedPair
from astr_cli.sfm.repeats.places import TrustedPairs

FEWEST = 12  # followed matches that end elsewhere; fewer may be outliers
ELSEWHERE = 0.25  # share of the followed matches; a right pair has some outliers, a mixed one does harm


class WrongPair(NamedTuple):
    """A pair that others contradict."""

    image0: int
    image1: int
    elsewhere: int
    """Of its followed matches, those that end elsewhere in other photos."""
    followed: int

    @property
    def reason(self) -> str:
        """Why it is wrong, in words."""
        return f"{self.elsewhere} of {self.followed} matches end elsewhere when followed through other photos"


def judge(
    pairs: Sequence[VerifiedPair], doubts: NDArray[np.float64], alive: Callable[[], None] = lambda: None
) -> list[WrongPair]:
    """Takes pairs with the smallest doubts first (of equal ones, that with more matches), and leaves out those that
    the pairs taken before contradict.

    doubts: (P,) how much is missing in each. No photo loses its connection, as only pairs that connect its two photos
    already can contradict a pair. alive: called before each pair.
    """
    trusted = TrustedPairs()
    wrong = []
    for number in np.lexsort((-np.array([len(pair.points0) for pair in pairs]), doubts)).tolist():
        alive()
        pair = pairs[number]
        met = trusted.meeting(pair)
        followed = met.same + met.elsewhere
        if met.elsewhere >= FEWEST and met.elsewhere > ELSEWHERE * followed:
            wrong.append(WrongPair(pair.image0, pair.image1, met.elsewhere, followed))
        else:
            trusted.add(pair)
    return sorted(wrong)
