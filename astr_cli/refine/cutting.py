"""Which templates a set of tracks needs: one per track and pyramid level, kept with the photo of the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.observations import Groups, Index, Observations, grouped
from astr_cli.refine.pyramid import LEVELS
from astr_cli.refine.solving import Levels
from astr_cli.refine.templates import Templates, template_side


class Cuts(NamedTuple):
    """K templates, sorted by track and level."""

    track: Index  # (K,)
    level: Index  # (K,)
    row: NDArray[np.int32]  # (T, LEVELS) the template of a track at a level, within its photo; -1: none
    of_photo: Groups  # rows of the K by the reference's photo


def choose_cuts(seen: Observations, reference: Index, levels: Levels, moving: Index) -> Cuts:
    """The templates that observations `moving` are aligned to, by the levels (O,) of all."""
    needed = np.zeros((len(reference), LEVELS), bool)
    for above in range(int(levels.steps.max(initial=1))):
        these = moving[levels.steps[moving] > above]
        needed[seen.track[these], levels.template[these] + above] = True
    track, level = np.nonzero(needed)
    of_photo = grouped(seen.photo[reference[track]], len(seen.sizes))
    row = np.full(needed.shape, -1, np.int32)
    within = np.arange(len(track)) - np.repeat(of_photo.begin[:-1], np.diff(of_photo.begin))
    row[track[of_photo.order], level[of_photo.order]] = within
    return Cuts(track, level, row, of_photo)


def gather(
    cuts: Cuts,
    track: NDArray[np.int32],
    photo: NDArray[np.int32],
    levels: Levels,
    half: int,
    stored: Callable[[int], Templates],
) -> tuple[Templates, Index]:
    """The templates that K observations ask for, and the one of each at each level, (K, LEVELS).

    track, photo (K,): theirs, and that of their references; stored: all templates of a photo.
    """
    above = np.arange(LEVELS) - levels.template[:, None]
    place, level = np.nonzero((above >= 0) & (above < levels.steps[:, None]))
    side = template_side(half)
    found = Templates(np.empty((len(place), side, side), np.uint16), np.empty(len(place), bool))
    for number in np.unique(photo):
        here = np.flatnonzero(photo[place] == number)
        row = cuts.row[track[place[here]], level[here]]
        for column, part in zip(found, stored(int(number)), strict=True):
            column[here] = part[row]
    rows = np.zeros((len(track), LEVELS), np.int64)
    rows[place, level] = np.arange(len(place))
    return found, rows
