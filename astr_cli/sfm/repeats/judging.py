"""Which pairs are wrong: those that chains of more trustworthy pairs contradict."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.repeats.chains import Matches, matches_between, meeting
from astr_cli.sfm.repeats.holes import hole_shares
from astr_cli.sfm.repeats.pairs import VerifiedPair, verified_pairs

FEWEST = 12  # matches with a way through the third photo
CONTRADICTED = 0.5  # share of them that end elsewhere
SUPPORTED = 0.2
REPEATED = 0.05  # share of triplets that do not meet, from which a set of photos has repeats
HOLES = 0.0035  # then the most that a pair may have which connects nothing new
CLEARLY = 2  # times as many triplets against a pair as for it


class Triplet(NamedTuple):
    """Three pairs between three photos, by their numbers, and whether their matches meet."""

    pairs: tuple[int, int, int]
    meets: bool


class WrongPair(NamedTuple):
    """A pair that others contradict, or that lacks details which its photos share with others."""

    image0: int
    image1: int
    against: int
    """Triplets."""
    supporting: int


def wrong_pairs(connection: sqlite3.Connection) -> list[WrongPair]:
    """The wrong pairs of a database, by number; it has passed the other checks."""
    pairs = verified_pairs(connection)
    return judge(pairs, list(triplets(pairs)), hole_shares(pairs))


def judge(pairs: Sequence[VerifiedPair], found: Sequence[Triplet], doubts: NDArray[np.float64]) -> list[WrongPair]:
    """Takes pairs with the smallest doubts first; leaves out those that the pairs taken before clearly contradict.

    doubts: (P,) shares of holes. Where many triplets do not meet, copies support each other, so a pair with holes is
    left out too if its photos are connected already. No photo loses its connection: pairs taken before always connect
    the photos of one left out.
    """
    of_pair: dict[int, list[Triplet]] = {}
    for triplet in found:
        for number in triplet.pairs:
            of_pair.setdefault(number, []).append(triplet)
    repeated = sum(not each.meets for each in found) > REPEATED * len(found)
    group = {image: image for pair in pairs for image in (pair.image0, pair.image1)}
    taken: set[int] = set()
    wrong = []
    for number in np.argsort(doubts, kind="stable").tolist():
        known = [each.meets for each in of_pair.get(number, ()) if taken.issuperset({*each.pairs} - {number})]
        supporting = sum(known)
        against = len(known) - supporting
        ends = group[pairs[number].image0], group[pairs[number].image1]
        doubtful = repeated and ends[0] == ends[1] and doubts[number] > HOLES
        if doubtful or against > CLEARLY * supporting:
            wrong.append(WrongPair(pairs[number].image0, pairs[number].image1, against, supporting))
        else:
            taken.add(number)
            group = {image: ends[0] if of == ends[1] else of for image, of in group.items()}
    return sorted(wrong)


def triplets(pairs: Sequence[VerifiedPair]) -> Iterator[Triplet]:
    """All triplets whose matches tell whether they meet."""
    numbers: dict[tuple[int, int], int] = {}
    ways: dict[tuple[int, int], Matches] = {}
    after: dict[int, set[int]] = {}
    for number, pair in enumerate(pairs):
        numbers[pair.image0, pair.image1] = number
        ways[pair.image0, pair.image1] = matches_between(pair.points0, pair.points1)
        after.setdefault(pair.image0, set()).add(pair.image1)
    for first, middle in numbers:
        for last in sorted(after[first] & after.get(middle, set())):
            met = meeting(ways[first, middle], ways[middle, last], ways[first, last])
            count = met.same + met.elsewhere
            if count >= FEWEST and not SUPPORTED < met.elsewhere / count < CONTRADICTED:
                sides = (numbers[first, middle], numbers[middle, last], numbers[first, last])
                yield Triplet(sides, met.elsewhere <= SUPPORTED * count)
