"""What refinement is told, and what it says of an observation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


class Status(IntEnum):
    """What became of an observation. All but the first two are left where the matcher put them."""

    REFERENCE = 0  # the observation that the others of its track are aligned to
    REFINED = 1
    FLAT = 2  # too little texture, there or in the reference
    UNSETTLED = 3  # the solver did not converge
    MOVED = 4  # too far from the start
    OUTSIDE = 5  # the patch leaves the photo or touches masked pixels, there or in the reference
    UNSURE = 6  # sigma or correlation beyond its gate


GOOD = (Status.REFERENCE, Status.REFINED)


@dataclass(frozen=True)
class Settings:
    """How patches are cut, aligned and judged. Pixels are those of the pyramid level unless said otherwise."""

    unknowns: Literal[2, 6] = 6  # translation, or affine: best with maps from neighbours; gain and offset come on top
    half: int = 9  # a patch has 2 half + 1 pixels per side
    window: float = 0.5  # sigma of the Gaussian window, in halves
    rounds: int = 12
    longest_step: float = 2.0
    stop: float = 0.02  # a shorter step ends the rounds
    reach: float = 6.0  # from the start of a level
    flat: float = 0.5  # grey values per pixel: rms gradient in the weakest direction
    max_sigma: float = 0.25  # photo pixels
    max_shift: float = 1.5  # matched pixels
    min_correlation: float = 0.8
    coarse_above: float = 2.0  # photo pixels per matched pixel: from there on, coarser levels come first
