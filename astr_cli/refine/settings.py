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
    """How patches are cut, aligned and judged. Pixels are those of the pyramid level unless said otherwise.

    The figures beside them are those of tests/refine/choose_settings.py: rendered courtyards at 2.4 and 6 times the
    matched size. With these settings 80% and 73% are accepted, with a median error of 0.056 px and 0.5% and 0.7% of
    errors over 1 px.
    """

    # Translation, or an affine map; gain and offset come on top. With maps from neighbours translation alone doubles
    # the median error at 2.4 times and quadruples it at 6; with those of a model it is the better one.
    unknowns: Literal[2, 6] = 6
    # A patch has 2 half + 1 pixels per side. 7: 0.070 px, 74% accepted. 11: 0.047 px, but where surfaces are uneven, as
    # in rendered rooms, its 95% grow from 0.34 to 0.44 px.
    half: int = 9
    window: float = 0.5  # sigma of the Gaussian window, in halves
    rounds: int = 10  # 20: one or two points more accepted, which are the worst
    longest_step: float = 2.0
    stop: float = 0.05  # a shorter step ends the rounds; 0.02: one or two points less accepted, no less error
    reach: float = 6.0  # from the start of a level
    flat: float = 0.5  # grey values per pixel: rms gradient in the weakest direction, below which sigma is not asked
    max_sigma: float = 0.25  # photo pixels. 0.15: 71% accepted, 0.1% over 1 px; 0.35: 82%, 0.9%
    # The same in matched pixels; the larger gate counts. Of photos many times the matched size, what is sure to half a
    # pixel is still several times better than what was matched.
    max_sigma_matched: float = 0.1
    max_shift: float = 1.5  # matched pixels. 2.5: 84% accepted and no worse, but repeated patterns may be that near
    min_correlation: float = 0.8  # 0: the same but for a tenth of a point, as sigma decides
    # Photo pixels per matched pixel from which on coarser levels come first, so that the start is off by a pixel or so.
    # 4, one level less: 73% and 62% accepted.
    coarse_above: float = 2.0
    # As stop, on all levels but the finest: the next one starts near enough. 0.05: no better, and 15% slower.
    coarse_stop: float = 0.2
