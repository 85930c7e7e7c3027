"""What becomes of observations that could not be refined."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.observations import Observations, track_count
from astr_cli.refine.settings import GOOD, Status
from astr_cli.refine.tracks import Refined

Rule = Literal["mixed", "keep", "drop"]
RULES: tuple[Rule, ...] = ("mixed", "keep", "drop")
ENOUGH = 3  # good observations: two and a rejected one hold a weakly connected photo better than two


class Summary(NamedTuple):
    """Counts of observations, and medians over the refined ones (NaN where there are none)."""

    references: int
    refined: int
    left: int  # where the matcher put them
    dropped: int
    shift: float  # photo pixels
    sigma: float  # photo pixels


def kept_by(rule: Rule, seen: Observations, refined: Refined) -> NDArray[np.bool_]:
    """(O,) which observations stay.

    mixed: a rejected one is dropped only where its track keeps three good ones. keep: all stay. drop: rejected ones are
    dropped, and with them tracks that nothing but their reference is left of.
    """
    good = np.isin(refined.status, GOOD)
    count = np.bincount(seen.track[good], minlength=track_count(seen))[seen.track]
    if rule == "keep":
        return np.ones(len(good), bool)
    if rule == "drop":
        return good & (count >= 2)
    return good | (count < ENOUGH)


def summary(refined: Refined, kept: NDArray[np.bool_]) -> Summary:
    """What to print of a refinement."""
    moved = refined.status == Status.REFINED
    reference = refined.status == Status.REFERENCE
    left = ~moved & ~reference

    def median(values: NDArray[np.float32]) -> float:
        return float(np.median(values[moved])) if moved.any() else float("nan")

    references, refined_ones, stayed = (int((part & kept).sum()) for part in (reference, moved, left))
    return Summary(references, refined_ones, stayed, int((~kept).sum()), median(refined.shift), median(refined.sigma))
