"""All observations of all tracks, photo by photo: first the references cut their templates, then each photo is aligned.

Memory is that of the templates and one photo, whatever the number of photos.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.observations import Floats, Groups, Index, Observations, grouped
from astr_cli.refine.planning import Plan
from astr_cli.refine.pyramid import LEVELS, Pyramid
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.solving import Levels, Search, Solution, choose_levels, solve
from astr_cli.refine.templates import Templates, cut_templates, template_side

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


class _Cuts(NamedTuple):
    """Which templates there are: one per track and level that an observation of the track needs."""

    track: Index  # (K,) rising
    level: Index  # (K,)
    row: NDArray[np.int32]  # (T, LEVELS) the template of a track at a level, within its photo; -1: none
    of_photo: Groups  # rows by the reference's photo


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

    load: the pyramid of a photo in raw orientation; asked at most twice per photo.
    kept: what is there by an earlier call with the same arguments is not computed again, and each photo's results are
    put there as soon as they are known; a mapping that stores arrays on disk and reads them back when asked makes the
    work resumable, and keeps the templates out of memory. Templates are looked up only for photos not yet aligned.
    tell: called with the number of photos done and of all after each, templates and alignment counted apart.
    """
    kept = {} if kept is None else kept
    levels = choose_levels(plan.maps, plan.pixel, settings)
    cuts = _cuts(seen, plan, levels)
    of_photo = grouped(seen.photo, len(seen.sizes))
    to_align = _to_align(seen, plan)
    steps = _steps(seen, plan, of_photo, to_align, kept)
    for number, step in enumerate(steps):
        if tell is not None:
            tell(number, len(steps))
        pyramid = load(step.photo)
        if step.kind == "templates":
            rows = cuts.of_photo.rows(step.photo)
            base = seen.xy[plan.reference[cuts.track[rows]]]
            kept[step] = tuple(cut_templates(pyramid, base, cuts.level[rows], settings.half))
            continue
        mine = of_photo.rows(step.photo)
        mine = mine[to_align[mine]]
        templates, rows = _gathered(seen, plan, levels, cuts, mine, kept, settings.half)
        search = Search(
            seen.xy[plan.reference[seen.track[mine]]],
            plan.start[mine],
            plan.maps[mine],
            plan.pixel[mine],
            Levels(*(column[mine] for column in levels)),
        )
        kept[step] = tuple(solve(pyramid, templates, rows, search, settings, threads))
    if tell is not None:
        tell(len(steps), len(steps))
    return _assembled(seen, of_photo, to_align, kept)


def _to_align(seen: Observations, plan: Plan) -> NDArray[np.bool_]:
    """(O,) all but the references."""
    found = np.ones(len(seen.photo), bool)
    found[plan.reference[plan.reference >= 0]] = False
    return found


def _cuts(seen: Observations, plan: Plan, levels: Levels) -> _Cuts:
    needed = np.zeros((len(plan.reference), LEVELS), bool)
    others = np.flatnonzero(_to_align(seen, plan))
    for above in range(int(levels.steps.max(initial=1))):
        these = others[levels.steps[others] > above]
        needed[seen.track[these], levels.template[these] + above] = True
    track, level = np.nonzero(needed)
    of_photo = grouped(seen.photo[plan.reference[track]], len(seen.sizes))
    row = np.full(needed.shape, -1, np.int32)
    within = np.arange(len(track)) - np.repeat(of_photo.begin[:-1], np.diff(of_photo.begin))
    row[track[of_photo.order], level[of_photo.order]] = within
    return _Cuts(track, level, row, of_photo)


def _steps(seen: Observations, plan: Plan, of_photo: Groups, to_align: NDArray[np.bool_], kept: Kept) -> list[Step]:
    """What is still to be done: templates only of photos that some photo not yet aligned asks for."""
    photos = range(len(seen.sizes))
    missing = [p for p in photos if to_align[of_photo.rows(p)].any() and Step("solution", p) not in kept]
    asking = np.isin(seen.photo, missing) & to_align
    asked = np.unique(seen.photo[plan.reference[seen.track[asking]]])
    templates = [step for photo in asked if (step := Step("templates", int(photo))) not in kept]
    return templates + [Step("solution", photo) for photo in missing]


def _gathered(
    seen: Observations, plan: Plan, levels: Levels, cuts: _Cuts, mine: Index, kept: Kept, half: int
) -> tuple[Templates, NDArray[np.int64]]:
    """The templates that observations `mine` (K,) ask for, and the one of each at each level, (K, LEVELS)."""
    place, level = np.nonzero(np.arange(LEVELS) - levels.template[mine, None] < levels.steps[mine, None])
    place, level = place[(above := level >= levels.template[mine[place]])], level[above]
    track = seen.track[mine[place]]
    photo = seen.photo[plan.reference[track]]
    side = template_side(half)
    found = Templates(np.empty((len(place), side, side), np.uint16), np.empty(len(place), bool))
    for number in np.unique(photo):
        here = np.flatnonzero(photo == number)
        row = cuts.row[track[here], level[here]]
        for column, stored in zip(found, kept[Step("templates", int(number))], strict=True):
            column[here] = stored[row]
    rows = np.zeros((len(mine), LEVELS), np.int64)
    rows[place, level] = np.arange(len(place))
    return found, rows


def _assembled(seen: Observations, of_photo: Groups, to_align: NDArray[np.bool_], kept: Kept) -> Refined:
    count = len(seen.photo)
    xy, status = seen.xy.copy(), np.full(count, Status.REFERENCE, np.uint8)
    sigma = np.full(count, np.nan, np.float32)
    for photo in range(len(seen.sizes)):
        mine = of_photo.rows(photo)
        mine = mine[to_align[mine]]
        if len(mine):
            solution = Solution(*kept[Step("solution", photo)])
            good = solution.status == Status.REFINED
            xy[mine[good]] = solution.xy[good]
            sigma[mine], status[mine] = solution.sigma, solution.status
    shift = np.linalg.norm(xy - seen.xy, axis=1).astype(np.float32)
    return Refined(xy, status, sigma, shift)
