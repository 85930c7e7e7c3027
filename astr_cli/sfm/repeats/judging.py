"""Which pairs, and which matches, are wrong: those that lead elsewhere than the more trustworthy parts of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.repeats.doubts import Doubts
from astr_cli.sfm.repeats.pairs import FEWEST as FEWEST_INLIERS
from astr_cli.sfm.repeats.pairs import VerifiedPair
from astr_cli.sfm.repeats.parts import Part
from astr_cli.sfm.repeats.places import Meeting, TrustedPairs

FEWEST = 12  # followed matches that decide; fewer may be outliers
ELSEWHERE = 0.5  # share of the followed matches; with fewer the part is right, but for those matches
TRIES = 6  # suspects that are taken last, one at a time; each takes all parts again
SURE = 2.0  # standard deviations of a coin's heads: of few followed matches, most may end elsewhere by chance

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
    pairs: Sequence[VerifiedPair], parts: Sequence[Part], doubts: Doubts, alive: Callable[[], None] = lambda: None
) -> list[MisledPair]:
    """Takes parts with the smallest doubts first (of equal ones, that with more matches), without the matches that the
    parts taken before contradict, and leaves out those of which they contradict most.

    Rows of like windows lie along the lines on which photos move, so right parts too have matches that are shifted by a
    window or two. If they were taken with them, later parts would be judged by them.

    doubts: of the parts. A part that nothing confirms or contradicts is taken if it connects
    its two photos, so that no photo loses its connection; else it waits, as do the loose matches, until all others are
    judged. What connects photos may be wrong, too: suspects are taken last, if less differs then in all that is taken.
    alive: called before each judgement. Returns the pairs that are not taken whole, by number.
    """
    order = _surest_first([part.shown for part in parts], doubts)
    verdicts = _taken(pairs, parts, order, alive)
    for suspect in suspects(parts, doubts, verdicts.links, verdicts.contradicted)[:TRIES]:
        later = _taken(pairs, parts, [number for number in order if number != suspect] + [suspect], alive)
        if doubts.share(later.taken) < doubts.share(verdicts.taken):
            verdicts = later
    for number in dict.fromkeys([*(parts[number].pair for number in order), *range(len(pairs))]):
        alive()
        verdicts.take_rest(number)
    return sorted(verdicts.misled(), key=lambda found: (found.image0, found.image1))


def any_misled(pairs: Sequence[VerifiedPair], doubts: Doubts, alive: Callable[[], None] = lambda: None) -> bool:
    """Whether a pair is surely wrong, which shows that things repeat in the set; ends at the first such pair.

    doubts: of the pairs, which are taken whole here.
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


def suspects(parts: Sequence[Part], doubts: Doubts, links: Sequence[int], contradicted: Sequence[int]) -> list[int]:
    """Links between the photos of contradicted parts that are surer than the least sure link; most suspect first.

    links: numbers of the parts that connected photos, a tree. One of those on the way between the photos of a
    contradicted part is wrong if that part is right.
    """
    ways: dict[int, dict[int, int]] = {}
    for link in links:
        shown = parts[link].shown
        ways.setdefault(shown.image0, {})[shown.image1] = ways.setdefault(shown.image1, {})[shown.image0] = link
    each = doubts.each
    least = max((each[link] for link in links), default=0.0)
    found: Counter[int] = Counter()
    for number in contradicted:
        if each[number] < least:
            found.update(_path(ways, parts[number].shown.image0, parts[number].shown.image1))
    return [link for link, _ in found.most_common()]


def _path(ways: Mapping[int, Mapping[int, int]], image0: int, image1: int) -> list[int]:
    """The links from one photo to the other in the tree."""
    paths: dict[int, list[int]] = {image0: []}
    last = [image0]
    while last and image1 not in paths:
        here = last.pop()
        new = {there: [*paths[here], link] for there, link in ways[here].items() if there not in paths}
        paths.update(new)
        last.extend(new)
    return paths[image1]


def _taken(
    pairs: Sequence[VerifiedPair], parts: Sequence[Part], order: Sequence[int], alive: Callable[[], None]
) -> _Verdicts:
    verdicts = _Verdicts(pairs)
    for number in order:
        alive()
        verdicts.take(number, parts[number])
    return verdicts


class _Verdicts:
    """What is decided so far, match by match."""

    def __init__(self, pairs: Sequence[VerifiedPair]) -> None:
        self._pairs = pairs
        self._trusted = TrustedPairs()
        self._mixed: set[int] = set()  # pairs with a part that is contradicted
        self.taken: list[int] = []
        self.links: list[int] = []  # parts that connected their photos
        self.contradicted: list[int] = []  # parts
        none = [np.zeros(len(pair.points0), bool) for pair in pairs]
        self._same, self._elsewhere, self._kept, self._decided = ([each.copy() for each in none] for _ in range(4))

    def take(self, number: int, part: Part) -> None:
        """Decides on a part, if that can be done already."""
        met = self._meeting(part.pair, part.matches)
        elsewhere, followed = met.counts
        linking = not self._trusted.connect(part.shown.image0, part.shown.image1)
        if _contradicted(elsewhere, followed):
            self.contradicted.append(number)
            self._mixed.add(part.pair)
            self._decide(part.pair, part.matches, np.zeros(len(part.matches), bool))
        elif followed - elsewhere >= FEWEST or linking:
            self.taken.append(number)
            self.links += [number] * linking
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


def _surest_first(pairs: Sequence[VerifiedPair], doubts: Doubts) -> list[int]:
    order: list[int] = np.lexsort((-np.array([len(pair.points0) for pair in pairs]), doubts.each)).tolist()
    return order


def _contradicted(elsewhere: int, followed: int) -> bool:
    return elsewhere >= FEWEST and elsewhere > ELSEWHERE * followed


def _surely(elsewhere: int, followed: int) -> bool:
    chance = SURE * 0.5 * followed**0.5
    return elsewhere >= FEWEST and elsewhere - ELSEWHERE * followed > chance
