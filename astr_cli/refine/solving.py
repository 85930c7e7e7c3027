"""One photo's observations, from the pyramid level that their start asks for to the finest that shows both ends."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.affine import sane
from astr_cli.refine.align import align
from astr_cli.refine.observations import Floats, Index
from astr_cli.refine.plain import Task
from astr_cli.refine.pyramid import LEVELS, Pyramid, from_level, to_level
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.templates import Templates, middles


class Levels(NamedTuple):
    """At which pyramid levels each observation is aligned: finest ones, and how many on top of them."""

    template: Index  # (K,) finest level of the reference's photo
    image: Index  # (K,) finest level of the observation's photo
    steps: Index  # (K,) levels used, 1 or more: the coarsest is steps - 1 above the finest, on both sides


class Search(NamedTuple):
    """K observations in one photo."""

    base: Floats  # (K, 2) their references, in pixels of the references' photos
    start: Floats  # (K, 2) where they are, about
    maps: Floats  # (K, 2, 2) pixels of the reference's photo to pixels of this one
    pixel: Floats  # (K,) photo pixels per matched pixel: see `Plan`
    levels: Levels


class Solution(NamedTuple):
    """Where K observations are; those that are not REFINED keep the position and have no sigma."""

    xy: Floats  # (K, 2)
    sigma: NDArray[np.float32]  # (K,) photo pixels
    correlation: NDArray[np.float32]  # (K,)
    status: NDArray[np.uint8]  # (K,)


def choose_levels(maps: Floats, pixel: Floats, settings: Settings) -> Levels:
    """Levels by the size that maps (K, 2, 2) give a pixel, so that neither side is sampled too thinly.

    The start is off by less than half a matched pixel as a rule: at the coarsest level that is one pixel or so.
    """
    size = 0.5 * np.log2(np.maximum(np.linalg.det(maps), 1e-6))
    image = np.clip(np.floor(size + 0.5), 0, LEVELS - 1).astype(np.int64)
    template = np.clip(np.floor(0.5 - size), 0, LEVELS - 1).astype(np.int64)
    more = np.ceil(np.log2(pixel / np.exp2(image) / settings.coarse_above) - 1e-9).astype(np.int64)
    return Levels(template, image, 1 + np.clip(more, 0, LEVELS - 1 - np.maximum(image, template)))


def solve(
    pyramid: Pyramid, templates: Templates, rows: Index, search: Search, settings: Settings, threads: int = 1
) -> Solution:
    """Aligns each observation to its templates, level by level; what counts is the finest level that passes the gates.

    rows (K, L): the template of each at each of the levels of its reference's photo.
    """
    count, coarser = len(search.start), replace(settings, stop=settings.coarse_stop)
    xy, maps = search.start.copy(), search.maps.copy()
    best = Solution(
        search.start.copy(),
        np.full(count, np.nan, np.float32),
        np.full(count, np.nan, np.float32),
        np.full(count, Status.OUTSIDE, np.uint8),
    )
    for above in range(int(search.levels.steps.max(initial=1)) - 1, -1, -1):
        level = search.levels.image + above
        for number in np.unique(level[search.levels.steps > above]):
            if number >= len(pyramid.levels):
                continue
            chosen = np.flatnonzero((level == number) & (search.levels.steps > above))
            row = rows[chosen, search.levels.template[chosen] + above]
            chosen, row = chosen[templates.usable[row]], row[templates.usable[row]]
            ends = search.levels.template[chosen] + above
            scale = np.exp2(ends - number)[:, None, None]
            point = middles(search.base[chosen], ends)[1]
            start = to_level(xy[chosen], number)
            task = Task(pyramid.levels[number], templates.grey[row], point, start, maps[chosen] * scale)
            found = align(task, settings if above == 0 else coarser, threads)
            settled = found.status == Status.REFINED
            xy[chosen[settled]] = from_level(found.xy[settled], number)
            maps[chosen[settled]] = found.maps[settled] / scale[settled]
            sigma = (found.sigma * 2.0**number).astype(np.float32)
            part = Solution(xy[chosen], sigma, found.correlation.astype(np.float32), found.status)
            _take(best, chosen, _judged(part, search, chosen, maps, settings))
    return best


def _judged(part: Solution, search: Search, chosen: Index, maps: Floats, settings: Settings) -> Solution:
    """The solution of some observations with the gates of shift, sigma and correlation."""
    status = part.status.copy()
    settled = status == Status.REFINED
    shift = np.linalg.norm(part.xy - search.start[chosen], axis=1)
    with np.errstate(invalid="ignore"):
        most = np.maximum(settings.max_sigma, settings.max_sigma_matched * search.pixel[chosen])
        sure = (part.sigma <= most) & (part.correlation >= settings.min_correlation)
    status[settled & ~sure] = Status.UNSURE
    status[settled & ((shift > settings.max_shift * search.pixel[chosen]) | ~sane(maps[chosen]))] = Status.MOVED
    return part._replace(status=status)


def _take(best: Solution, chosen: Index, part: Solution) -> None:
    """Puts what is refined, or more than was known, in its place."""
    good = part.status == Status.REFINED
    better = good | (best.status[chosen] != Status.REFINED)
    best.status[chosen[better]] = part.status[better]
    best.xy[chosen[good]] = part.xy[good]
    best.sigma[chosen[good]], best.correlation[chosen[good]] = part.sigma[good], part.correlation[good]
