"""Matches of one pair of photos: the end on the grid stays, the other one is aligned to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.observations import Floats, Observations
from astr_cli.refine.planning import plan_from_neighbours
from astr_cli.refine.pyramid import Pyramid
from astr_cli.refine.settings import Settings
from astr_cli.refine.tracks import Refined, refine_tracks


class Matches(NamedTuple):
    """M matches of two photos, in photo pixels."""

    xy0: Floats  # (M, 2)
    xy1: Floats  # (M, 2)
    reference: NDArray[np.uint8]  # (M,) 0 or 1: the photo in which the match stays where it is
    pixel0: Floats  # (M,) photo pixels per matched pixel
    pixel1: Floats  # (M,)


def refine_pair(matches: Matches, photos: tuple[Pyramid, Pyramid], settings: Settings, threads: int = 1) -> Refined:
    """The M moving ends, (M,) in every field, after alignment to their fixed ends.

    Every match is a track of two; maps come from the pair's own matches, those of both directions.
    """
    count = len(matches.xy0)
    photo, track = np.repeat(np.arange(2, dtype=np.int32), count), np.tile(np.arange(count, dtype=np.int32), 2)
    sizes = np.array([pyramid.levels[0].shape[::-1] for pyramid in photos], np.int32)
    xy, pixel = np.concatenate([matches.xy0, matches.xy1]), np.concatenate([matches.pixel0, matches.pixel1])
    seen = Observations(photo, track, xy, pixel, sizes)
    fixed, moving = (np.arange(count) + count * (matches.reference == side) for side in (1, 0))
    plan = plan_from_neighbours(seen, settings.half, fixed)
    refined = refine_tracks(seen, plan, lambda number: photos[number], settings, threads=threads)
    return Refined(*(column[moving] for column in refined))
