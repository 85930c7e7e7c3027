"""`--focus auto`: pairs whose photos share a small part, or show it at unlike sizes, are looked at again.

The first pass, on whole photos, says which part that is and how much larger it is in one of them. Both parts are taken
from the original photos at a level at which things look equally large, as large as the long side allows, and matched
again. The pass with more verified matches counts. NOTE not in the paper (docs/model.md, Around the model).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from astr_cli.matching.focus.geometry import Look, level_size, look_again, window_at
from astr_cli.matching.focus.verification import FEWEST, verified
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.regions.geometry import Points
from astr_cli.matching.regions.matching import Part, Sized, match_parts
from astr_cli.matching.regions.pyramid import Level
from astr_cli.matching.run.model_runner import PairInput, Runner
from astr_cli.store.types import PairMatches

SURE = 1 / 16  # verified matches per cell of the smaller photo, above which a pair is not looked at again
Source: TypeAlias = Callable[[tuple[int, int]], Level]
"""Gives a photo, upright, at any size (w, h); may raise ImageError."""


class Looked(NamedTuple):
    """The matches of a pair, and whether it was looked at again."""

    matches: PairMatches
    again: bool


class FocusMatcher:
    """Looks again at the pairs where it pays; `long_side` is that of the first pass."""

    def __init__(self, runner: Runner, long_side: int) -> None:
        self._runner = runner
        self._long_side = long_side

    def match(self, pair: PairInput, first: PairMatches, source0: Source, source1: Source) -> Looked:
        """The matches of a pair in raw pixels, from those of the first pass. Raises ImageError as the sources do."""
        points0 = pair.view0.from_raw(first.keypoints0).astype(np.float64)
        points1 = pair.view1.from_raw(first.keypoints1).astype(np.float64)
        seen = verified_rows(first, points0, points1)
        if len(seen) < FEWEST or len(seen) >= SURE * min(cells(pair.view0), cells(pair.view1)):
            return Looked(first, False)
        look = look_again(points0[seen], points1[seen], pair.view0.matched, pair.view1.matched, self._long_side)
        if look is None:
            return Looked(first, False)
        second, count = self._look(look, pair, source0, source1)
        return Looked(second if count > len(seen) else first, True)

    def _look(self, look: Look, pair: PairInput, source0: Source, source1: Source) -> tuple[PairMatches, int]:
        """The matches of a look, and how many of them are verified."""
        parts = []
        for source, view, box, level in (
            (source0, pair.view0, look.box0, look.level0),
            (source1, pair.view1, look.box1, look.level1),
        ):
            size = level_size(view.matched, level)
            parts.append(Part(Sized(*source(size), view), window_at(box, size, level)))
        found = match_parts(self._runner, parts[0], parts[1], pair)
        points0, points1 = parts[0].photo.from_raw(found.keypoints0), parts[1].photo.from_raw(found.keypoints1)
        return found, len(verified_rows(found, points0, points1))


def verified_rows(matches: PairMatches, points0: Points, points1: Points) -> npt.NDArray[np.intp]:
    """The verified rows; of the two rows of a coarse match, the first one."""
    rows = np.flatnonzero(matches.reference == 0)
    return rows[verified(points0[rows], points1[rows])]


def cells(view: PhotoGeometry) -> int:
    """Cells of a photo."""
    return view.matched[0] * view.matched[1] // 64
