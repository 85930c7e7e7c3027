"""Where to look again: pure geometry.

A level enlarges a photo to 2^level times its matched size. The cells of all levels lie on one grid per photo: one cell
of every level stands on the centre of the photo's first cell, so every fourth cell of a level rests on a centre of the
level below, and stars of cells (docs/design.md, Reference side) hold pairs together that were looked at differently.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from astr_cli.matching.regions.geometry import CELL, MULTIPLE, Points, Window, size_ratio

LEVELS = range(-2, 3)
MIDDLE = (3, 97)  # percentiles of the verified points that a box spans
MARGIN = 0.15  # of a box's sides, added on each side
WORK = 1.15  # pairs of pixels of both windows, at most, per pair of pixels of the whole photos
SMALLEST_SIDE = 256  # pixels of a window: context for few matches
SMALL = 0.5  # share of a photo's area below which a look at the box pays
UNLIKE = 1.4  # ratio of sizes above which a look at equal scale pays


class Box(NamedTuple):
    """A part of a photo in matched pixels, counted from the corner of the first one."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def sides(self) -> tuple[float, float]:
        """(w, h)."""
        return self.x1 - self.x0, self.y1 - self.y0


class Look(NamedTuple):
    """What to match again: a box of each photo, and the level of each."""

    box0: Box
    box1: Box
    level0: int
    level1: int


def look_again(
    points0: Points, points1: Points, size0: tuple[int, int], size1: tuple[int, int], long_side: int
) -> Look | None:
    """The look that verified matches (M, 2) and (M, 2) ask for, in matched pixels of photos of these matched sizes.

    None when the whole photos show as much, or when no levels fit.
    """
    box0, box1 = box_around(points0, size0), box_around(points1, size1)
    ratio = size_ratio(points0, points1)
    shares = [math.prod(box.sides) / math.prod(size) for box, size in ((box0, size0), (box1, size1))]
    if min(shares) >= SMALL and max(ratio, 1 / ratio) <= UNLIKE:
        return None
    levels = levels_for((box0, box1), (size0, size1), ratio, long_side)
    return None if levels is None else Look(box0, box1, *levels)


def box_around(points: Points, size: tuple[int, int]) -> Box:
    """The box of most of the points (M, 2), with a margin, inside a photo of matched `size`."""
    low, high = np.percentile(points + 0.5, MIDDLE, axis=0)
    margin = MARGIN * (high - low)
    low, high = np.maximum(low - margin, 0.0), np.minimum(high + margin, size)
    return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def levels_for(
    boxes: tuple[Box, Box], sizes: tuple[tuple[int, int], tuple[int, int]], ratio: float, long_side: int
) -> tuple[int, int] | None:
    """The largest levels of both photos of matched `sizes` at which things look equally large, both boxes fit into the
    long side, if need be without their margins, and the windows take hardly more work than whole photos."""
    apart = round(math.log2(ratio))
    most = WORK * math.prod(sizes[0]) * math.prod(sizes[1])
    for level1 in reversed(LEVELS):
        levels = level1 + apart, level1
        if levels[0] not in LEVELS:
            continue
        longest = max(max(box.sides) * 2.0**level for box, level in zip(boxes, levels, strict=True))
        windows = map(partial(window_at, long_side=long_side), boxes, sizes, levels)
        work = math.prod(window.width * window.height for window in windows)
        if longest <= (1 + 2 * MARGIN) * long_side and work <= most:
            return levels
    return None


def level_size(matched: tuple[int, int], level: int) -> tuple[int, int]:
    """(w, h) of a photo of this matched size at a level."""
    return round(matched[0] * 2.0**level), round(matched[1] * 2.0**level)


def window_at(box: Box, matched: tuple[int, int], level: int, long_side: int) -> Window:
    """The window around a box of a photo of this matched size, at a level; its cells are cells of the level, and its
    sides at most the long side."""
    size = level_size(matched, level)
    phase = round(CELL // 2 * 2.0**level) - CELL // 2  # where the cell on the photo's first one begins
    most = max(long_side // MULTIPLE, 1) * MULTIPLE
    origin, extent = [0, 0], [0, 0]
    for axis, (low, high) in enumerate(((box.x0, box.x1), (box.y0, box.y1))):
        low, high = low * 2.0**level, high * 2.0**level
        wanted = min(max(high - low, SMALLEST_SIDE), size[axis])
        extent[axis] = min(math.ceil(wanted / MULTIPLE) * MULTIPLE, most)
        first, last = -(-phase % CELL), size[axis] - extent[axis]
        start = min(max((low + high - extent[axis]) / 2, first), max(last, first))
        origin[axis] = phase + round((start - phase) / CELL) * CELL
    return Window(*origin, *extent)
