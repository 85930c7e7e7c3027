"""`--focus auto`: pairs whose photos share a small part, or show it at unlike sizes, are looked at again.

The first pass, on whole photos, says which part that is and how much larger it is in one of them. Both parts are taken
from the original photos at a level at which things look equally large, as large as the long side allows, and matched
again. Where the first pass finds too little to tell, small copies are matched first, one photo at half the size of the
other. The pass with the most verified matches counts. NOTE not in the paper (docs/model.md, Around the model).
"""

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from astr_cli.matching.focus.geometry import Box, Look, level_size, look_again, window_at
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.regions.geometry import CELL, Points
from astr_cli.matching.regions.matching import Part, Sized, match_parts
from astr_cli.matching.regions.pyramid import Level
from astr_cli.matching.regions.verification import verified
from astr_cli.matching.run.model_runner import PairInput, Runner
from astr_cli.model.astr import MatchSettings
from astr_cli.store.types import PairMatches

FEW = 50  # verified matches below which they may agree by chance, or lie in one corner only
GUESSES = ((-1, -2), (-2, -1))  # levels of whole photos to try then: quick, and one of them at half the size
SURE = 1 / 16  # verified matches per cell of the smaller photo, above which a pair is not looked at again
SURE_OF_MOST = 0.5  # the same per match of --max-matches, where that is fewer
LOOKS = 2  # at parts, each chosen by the best pass so far
Source: TypeAlias = Callable[[tuple[int, int]], Level]
"""Gives a photo, upright, at any size (w, h); may raise ImageError."""


class Looked(NamedTuple):
    """The matches of a pair, and whether it was looked at again."""

    matches: PairMatches
    again: bool


class Side(NamedTuple):
    """One photo of a pair."""

    view: PhotoGeometry
    source: Source

    @property
    def whole(self) -> Box:
        """All of it."""
        return Box(0, 0, *self.view.matched)

    def part(self, box: Box, level: int, long_side: int) -> Part:
        """A part of it at a level. Raises ImageError."""
        sized = Sized(*self.source(level_size(self.view.matched, level)), self.view)
        return Part(sized, window_at(box, self.view.matched, level, long_side))


class Seen(NamedTuple):
    """The matches of a pass, and the verified ones as points of both photos in matched pixels."""

    matches: PairMatches
    points0: Points  # (V, 2)
    points1: Points  # (V, 2)
    levels: tuple[int, int] = (0, 0)

    @property
    def verified(self) -> int:
        """How many matches are verified."""
        return len(self.points0)


class FocusMatcher:
    """Looks again at the pairs where it pays; `long_side` is that of the first pass."""

    def __init__(self, runner: Runner, settings: MatchSettings, long_side: int) -> None:
        self._runner = runner
        self._most = settings.max_matches
        self._long_side = long_side

    def match(self, pair: PairInput, first: PairMatches, source0: Source, source1: Source) -> Looked:
        """The matches of a pair in raw pixels, from those of the first pass. Raises ImageError as the sources do."""
        sides = Side(pair.view0, source0), Side(pair.view1, source1)
        best = seen_by(first, sides)
        again = False
        if best.verified < min(FEW, self._sure(sides)):
            guesses = [Look(sides[0].whole, sides[1].whole, *levels) for levels in GUESSES]
            best = max([best, *(self._seen(guess, pair, sides) for guess in guesses)], key=lambda each: each.verified)
            again = True
        for _ in range(LOOKS):
            look = self._next(best, sides)
            if look is None:
                break
            again, seen = True, self._seen(look, pair, sides)
            if seen.verified <= best.verified:
                break
            best = seen
        return Looked(best.matches, again)

    def _next(self, best: Seen, sides: tuple[Side, Side]) -> Look | None:
        """The look that the best pass so far asks for, if it is not sure enough."""
        if best.verified == 0 or best.verified >= self._sure(sides):
            return None
        sizes = sides[0].view.matched, sides[1].view.matched
        look = look_again(best.points0, best.points1, *sizes, self._long_side)
        return None if look is None or (look.level0, look.level1) == best.levels else look

    def _sure(self, sides: tuple[Side, Side]) -> float:
        """The number of verified matches from which a pair is not looked at again."""
        cells = SURE * min(math.prod(side.view.matched) for side in sides) / CELL**2
        return cells if self._most is None else min(cells, SURE_OF_MOST * self._most)

    def _seen(self, look: Look, pair: PairInput, sides: tuple[Side, Side]) -> Seen:
        part0 = sides[0].part(look.box0, look.level0, self._long_side)
        part1 = sides[1].part(look.box1, look.level1, self._long_side)
        return seen_by(match_parts(self._runner, part0, part1, pair), sides, (look.level0, look.level1))


def seen_by(matches: PairMatches, sides: tuple[Side, Side], levels: tuple[int, int] = (0, 0)) -> Seen:
    """A pass at these levels and its verified matches; of the two rows of a coarse match, the first one."""
    rows = matches.reference == 0
    points0 = sides[0].view.from_raw(matches.keypoints0[rows]).astype(np.float64)
    points1 = sides[1].view.from_raw(matches.keypoints1[rows]).astype(np.float64)
    fit = verified(points0 * 2.0 ** levels[0], points1 * 2.0 ** levels[1])
    return Seen(matches, points0[fit], points1[fit], levels)
