"""Which pairs, and which matches, are wrong: those that lead elsewhere than the more trustworthy parts of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.repeats.pairs import FEWEST as FEWEST_INLIERS
from astr_cli.sfm.repeats.pairs import VerifiedPair
from astr_cli.sfm.repeats.parts import Part
from astr_cli.sfm.repeats.places import Meeting, TrustedPairs

FEWEST = 12  # followed matches that decide; fewer may be outliers
ELSEWHERE = 0.5  # share of the followed matches; with fewer the part is right, but for those matches
SURE = 2.0  # standard deviations of a coin's heads: of few followed matches, most may end elsewhere by chance

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]
Mask = NDArray[np.bool_]


class MisledPair(NamedTuple):
    """A pair with matches that are left out."""

    image0: int
    image1: int
    kept: Mask
    """(M,) its matches that are not left out."""
    elsewhere: int
    """How many matches end elsewhere in other photos."""
    followed: int

    @property
    def enough(self) -> bool:
        """Whether the matches that are kept are enough to map with."""
        return int(self.kept.sum()) >= FEWEST_INLIERS

    @property
    def wrong(self) -> bool:
        """Whether the pair is, and not some of its matches alone."""
        return _contradicted(self.elsewhere, self.followed) or not self.enough

    @property
    def surely(self) -> bool:
        """Whether it is, and hardly by chance; one such pair in a set shows that things repeat there."""
        return _surely(self.elsewhere, self.followed)

    @property
    def reason(self) -> str:
        """Why it is wrong, in words."""
        why = f"{self.elsewhere} of {self.followed} matches end elsewhere when followed through other photos"
        return f"{why}; {self.kept.sum()} others are confirmed" if self.enough else why


def judge(
    pairs: Sequence[VerifiedPair], parts: Sequence[Part], doubts: Floats, alive: Callable[[], None] = lambda: None
) -> list[MisledPair]:
    """Takes parts with the smallest doubts first (of equal ones, that with more matches), without the matches that the
    parts taken before contradict, and leaves out those of which they contradict most.

    Rows of like windows lie along the lines on which photos move, so right parts too have matches that are shifted by a
    window or two. If they were taken with them, later parts would be judged by them.

    doubts: (len(parts),) how much differs in each. A part that nothing confirms or contradicts is taken if it connects
    its two photos, so that no photo loses its connection; else it waits, as do the loose matches, until all others are
    judged. alive: called before each judgement. Returns the pairs that are not taken whole, by number.
    """
    verdicts = _Verdicts(pairs)
    order = _surest_first([part.shown for part in parts], doubts)
    for number in order:
        alive()
        verdicts.take(parts[number])
    for number in dict.fromkeys([*(parts[number].pair for number in order), *range(len(pairs))]):
        alive()
        verdicts.take_rest(number)
    return sorted(verdicts.misled(), key=lambda found: (found.image0, found.image1))


def any_misled(pairs: Sequence[VerifiedPair], doubts: Floats, alive: Callable[[], None] = lambda: None) -> bool:
    """Whether a pair is surely wrong, which shows that things repeat in the set; ends at the first such pair.

    doubts: (P,) by pair, as pairs are taken whole here.
    """
    trusted = TrustedPairs()
    for number in _surest_first(pairs, doubts):
        alive()
        met = trusted.meeting(pairs[number])
        elsewhere, followed = met.counts
        if _surely(elsewhere, followed):
            return True
        if not _contradicted(elsewhere, followed):
            trusted.add(pairs[number].chosen(~met.elsewhere))
    return False


class _Verdicts:
    """What is decided so far, match by match."""

    def __init__(self, pairs: Sequence[VerifiedPair]) -> None:
        self._pairs = pairs
        self._trusted = TrustedPairs()
        self._mixed: set[int] = set()  # pairs with a part that is contradicted
        none = [np.zeros(len(pair.points0), bool) for pair in pairs]
        self._same, self._elsewhere, self._kept, self._decided = ([each.copy() for each in none] for _ in range(4))

    def take(self, part: Part) -> None:
        """Decides on a part, if that can be done already."""
        met = self._meeting(part.pair, part.matches)
        elsewhere, followed = met.counts
        if _contradicted(elsewhere, followed):
            self._mixed.add(part.pair)
            self._decide(part.pair, part.matches, np.zeros(len(part.matches), bool))
        elif followed - elsewhere >= FEWEST or not self._trusted.connect(part.shown.image0, part.shown.image1):
            self._decide(part.pair, part.matches, ~met.elsewhere)

    def take_rest(self, number: int) -> None:
        """Decides on the other matches of a pair; beside a part that is contradicted, they need to be confirmed."""
        rest = np.flatnonzero(~self._decided[number])
        if len(rest):
            met = self._meeting(number, rest)
            if _contradicted(*met.counts):
                self._decide(number, rest, np.zeros(len(rest), bool))
            else:
                self._decide(number, rest, met.same if number in self._mixed else ~met.elsewhere)

    def misled(self) -> list[MisledPair]:
        """The pairs that are not kept whole."""
        return [
            MisledPair(pair.image0, pair.image1, kept, *self._counts(number))
            for number, (pair, kept) in enumerate(zip(self._pairs, self._kept, strict=True))
            if not kept.all()
        ]

    def _counts(self, number: int) -> tuple[int, int]:
        """How many matches of a pair end elsewhere, and how many could be followed."""
        return Meeting(self._same[number], self._elsewhere[number]).counts

    def _meeting(self, number: int, matches: Numbers) -> Meeting:
        met = self._trusted.meeting(self._pairs[number].chosen(matches))
        self._same[number][matches], self._elsewhere[number][matches] = met.same, met.elsewhere
        return met

    def _decide(self, number: int, matches: Numbers, kept: Mask) -> None:
        self._decided[number][matches] = True
        self._kept[number][matches] = kept
        if kept.any():
            self._trusted.add(self._pairs[number].chosen(matches[kept]))


def _surest_first(pairs: Sequence[VerifiedPair], doubts: Floats) -> list[int]:
    order: list[int] = np.lexsort((-np.array([len(pair.points0) for pair in pairs]), doubts)).tolist()
    return order


def _contradicted(elsewhere: int, followed: int) -> bool:
    return elsewhere >= FEWEST and elsewhere > ELSEWHERE * followed


def _surely(elsewhere: int, followed: int) -> bool:
    chance = SURE * 0.5 * followed**0.5
    return elsewhere >= FEWEST and elsewhere - ELSEWHERE * followed > chance
