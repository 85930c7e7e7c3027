"""Where tiles lie: pure geometry, in pixels of a photo that is upright and at one level of its pyramid.

Level l shrinks by 2^(l/2). Tiles begin at multiples of 8, so that one level has one grid of cells for all tiles and
pairs: a point that one pair finds at a cell's centre lies there for another pair, too.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from astr_cli.matching.regions.geometry import CELL, MULTIPLE, Points, Window

MARGIN = 48  # pixels of a tile around its core: they give context; matches there come from another tile
SMALLEST_TILE = 128  # pixels per side: the first multiple of 32 with a core between its two margins
LEVELS = 8  # at most, a sixteenth of the size


class Span(NamedTuple):
    """A tile along one axis, and its core: the part in which its matches count."""

    origin: int
    size: int
    low: float
    high: float


class Tile(NamedTuple):
    """A tile of image0."""

    x: Span
    y: Span

    def holds(self, points: Points) -> npt.NDArray[np.bool_]:
        """Which points (M, 2) lie in the core; the cores of all tiles share the plane without overlap."""
        x, y = points.T
        return np.asarray((x >= self.x.low) & (x < self.x.high) & (y >= self.y.low) & (y < self.y.high))


def spans(length: int, side: int) -> list[Span]:
    """Tiles of at most `side` (a multiple of 32, `SMALLEST_TILE` or more) along an axis, neighbours sharing two margins
    at least."""
    if length <= side:
        return [Span(0, -(-length // MULTIPLE) * MULTIPLE, -math.inf, math.inf)]
    count = math.ceil((length - 2 * MARGIN) / (side - 2 * MARGIN - CELL))
    last = -(-(length - side) // CELL) * CELL
    origins = [int(index * last / (count - 1)) // CELL * CELL for index in range(count)]
    cuts = [(here + side + after) / 2 for here, after in pairwise(origins)]
    lows, highs = [-math.inf, *cuts], [*cuts, math.inf]
    return [Span(origin, side, low, high) for origin, low, high in zip(origins, lows, highs, strict=True)]


def tiles(size: tuple[int, int], side: int) -> Iterator[Tile]:
    """The tiles of a photo of `size` (w, h)."""
    for y in spans(size[1], side):
        for x in spans(size[0], side):
            yield Tile(x, y)


def window_around(points: Points, size: tuple[int, int], side: int) -> Window:
    """The part of a photo of `size` (w, h) that a tile's matches (M, 2) point to, with a margin; half to one and a half
    tiles wide."""
    low, high = np.percentile(points, (5, 95), axis=0)
    origin, extent = [0, 0], [0, 0]
    for axis in (0, 1):
        whole = -(-size[axis] // MULTIPLE) * MULTIPLE
        wanted = np.clip(high[axis] - low[axis] + 4 * MARGIN, side / 2, 1.5 * side)
        extent[axis] = min(int(-(-wanted // MULTIPLE)) * MULTIPLE, whole)
        start = (low[axis] + high[axis] - extent[axis]) / 2
        origin[axis] = int(np.clip(start, 0, whole - extent[axis])) // CELL * CELL
    return Window(*origin, *extent)


def levels_for(ratio: float) -> tuple[int, int]:
    """Levels of image0 and image1 at which objects look equally large, one of them 0.

    `ratio` is the size of an object in image1 over its size in image0, both at full size.
    """
    level = min(round(2 * abs(math.log2(ratio))), LEVELS)
    return (0, level) if ratio >= 1 else (level, 0)


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """(w, h) of a photo of `size` at a level."""
    factor = 2.0 ** (-level / 2)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
