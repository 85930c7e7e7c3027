"""All observations of all tracks, photo by photo: first the references cut their templates, then each photo is aligned.

Memory is that of the templates and one photo, whatever the number of photos.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.cutting import Cuts, choose_cuts, gather
from astr_cli.refine.observations import Floats, Groups, Index, Observations, grouped
from astr_cli.refine.planning import Plan
from astr_cli.refine.pyramid import Pyramid
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.solving import Levels, Search, Solution, choose_levels, solve
from astr_cli.refine.templates import Templates, cut_templates

Load = Callable[[int], Pyramid]
Tell = Callable[[int, int], None]


class Step(NamedTuple):
    """A piece of work that is kept whole: the key of its result."""

    kind: str  # "templates" or "solution"
    photo: int


Kept = MutableMapping[Step, tuple[NDArray[Any], ...]]


class Refined(NamedTuple):
    """Observations after refinement."""

    xy: Floats  # (O, 2) photo pixels
    status: NDArray[np.uint8]  # (O,) of `Status`
    sigma: NDArray[np.float32]  # (O,) photo pixels: root of the summed variances of x and y; NaN where not refined
    shift: NDArray[np.float32]  # (O,) photo pixels from the observation that was given


class _Work(NamedTuple):
    """What every step needs to know."""

    seen: Observations
    plan: Plan
    levels: Levels
    cuts: Cuts
    of_photo: Groups  # observations by photo
    moving: NDArray[np.bool_]  # (O,) all but the references

    def mine(self, photo: int) -> Index:
        """The observations of a photo that are to be aligned."""
        rows = self.of_photo.rows(photo)
        return rows[self.moving[rows]]


def refine_tracks(
    seen: Observations,
    plan: Plan,
    load: Load,
    settings: Settings,
    kept: Kept | None = None,
    threads: int = 1,
    tell: Tell | None = None,
) -> Refined:
    """Aligns every observation to the reference of its track.

    load: the pyramid of a photo in raw orientation, by its number; asked twice per photo at most, for one at a time.
    kept: results that an earlier call with the same arguments put there are not computed again, and those of each photo
    are put there as soon as they are known. A mapping that stores arrays on disk makes the work resumable, and one that
    maps them into memory keeps the templates out of it: a template takes (2 half + 3)^2 * 2 bytes per track and level.
    tell: called with the steps done and the steps of all, one for each photo that cuts templates or is aligned.
    """
    kept = {} if kept is None else kept
    work = _prepared(seen, plan, settings)
    steps = _steps(work, kept)
    for number, step in enumerate(steps):
        if tell is not None:
            tell(number, len(steps))
        # No name here holds the photo while the next one is loaded.
        if step.kind == "templates":
            kept[step] = tuple(_cut(work, step.photo, load(step.photo), settings))
        else:
            kept[step] = tuple(_align(work, step.photo, load(step.photo), settings, kept, threads))
    if tell is not None:
        tell(len(steps), len(steps))
    return _assembled(work, kept)


def _prepared(seen: Observations, plan: Plan, settings: Settings) -> _Work:
    moving = np.ones(len(seen.photo), bool)
    moving[plan.reference[plan.reference >= 0]] = False
    levels = choose_levels(plan.maps, plan.pixel, settings)
    cuts = choose_cuts(seen, plan.reference, levels, np.flatnonzero(moving))
    return _Work(seen, plan, levels, cuts, grouped(seen.photo, len(seen.sizes)), moving)


def _steps(work: _Work, kept: Kept) -> list[Step]:
    """What is still to be done: templates only of photos that some photo not yet aligned asks for."""
    photos = range(len(work.seen.sizes))
    missing = [photo for photo in photos if len(work.mine(photo)) and Step("solution", photo) not in kept]
    asking = work.moving & np.isin(work.seen.photo, missing)
    asked = np.unique(work.seen.photo[work.plan.reference[work.seen.track[asking]]])
    templates = [step for photo in asked if (step := Step("templates", int(photo))) not in kept]
    return templates + [Step("solution", photo) for photo in missing]


def _cut(work: _Work, photo: int, pyramid: Pyramid, settings: Settings) -> Templates:
    rows = work.cuts.of_photo.rows(photo)
    base = work.seen.xy[work.plan.reference[work.cuts.track[rows]]]
    return cut_templates(pyramid, base, work.cuts.level[rows], settings.half)


def _align(work: _Work, photo: int, pyramid: Pyramid, settings: Settings, kept: Kept, threads: int) -> Solution:
    seen, plan, mine = work.seen, work.plan, work.mine(photo)
    levels = Levels(*(column[mine] for column in work.levels))
    base = plan.reference[seen.track[mine]]

    def stored(number: int) -> Templates:
        return Templates(*kept[Step("templates", number)])

    templates, rows = gather(work.cuts, seen.track[mine], seen.photo[base], levels, settings.half, stored)
    search = Search(seen.xy[base], plan.start[mine], plan.maps[mine], plan.pixel[mine], levels)
    return solve(pyramid, templates, rows, search, settings, threads)


def _assembled(work: _Work, kept: Kept) -> Refined:
    seen, count = work.seen, len(work.seen.photo)
    xy, status = seen.xy.copy(), np.full(count, Status.REFERENCE, np.uint8)
    sigma = np.full(count, np.nan, np.float32)
    for photo in range(len(seen.sizes)):
        mine = work.mine(photo)
        if len(mine):
            solution = Solution(*kept[Step("solution", photo)])
            good = solution.status == Status.REFINED
            xy[mine[good]] = solution.xy[good]
            sigma[mine], status[mine] = solution.sigma, solution.status
    shift = np.linalg.norm(xy - seen.xy, axis=1).astype(np.float32)
    return Refined(xy, status, sigma, shift)
