"""Patches of the reference observations, cut once and kept until every other observation has been aligned to them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from astr_cli.refine.observations import Floats, Index
from astr_cli.refine.pyramid import Pyramid, to_level

SCALE = 256  # of grey values in 16 bits: half the memory of float32, and exact for means of up to 256 pixels


class Templates(NamedTuple):
    """K patches of (2 half + 3)^2 whole pixels of their level; the rim serves the gradients alone."""

    grey: NDArray[np.uint16]  # (K, S, S) in 1 / SCALE
    usable: NDArray[np.bool_]  # (K,) False: leaves the photo, or touches masked pixels


def template_side(half: int) -> int:
    """S."""
    return 2 * half + 3


def middles(xy: Floats, level: Index) -> tuple[Index, Floats]:
    """The pixel (K, 2) of its level that is in the middle of each template, and the point (K, 2) as seen from it."""
    at = to_level(xy, level)
    whole = np.floor(at + 0.5)
    return whole.astype(np.int64), at - whole


def cut_templates(pyramid: Pyramid, xy: Floats, level: Index, half: int) -> Templates:
    """Templates around points (K, 2) in photo pixels, each at its level (K,)."""
    side = template_side(half)
    grey, usable = np.zeros((len(xy), side, side), np.uint16), np.zeros(len(xy), bool)
    middle, _ = middles(xy, level)
    for number in np.unique(level):
        if number >= len(pyramid.levels):
            continue
        image = pyramid.levels[number]
        low, high = middle - (half + 1), middle + (half + 1)
        inside = (level == number) & (low >= 0).all(1) & (high < np.array(image.shape[::-1])).all(1)
        rows = np.flatnonzero(inside)
        found = sliding_window_view(image, (side, side))[low[rows, 1], low[rows, 0]]
        rows, found = rows[(known := np.isfinite(found).all((1, 2)))], found[known]
        grey[rows] = np.rint(np.clip(found, 0, 255) * SCALE).astype(np.uint16)
        usable[rows] = True
    return Templates(grey, usable)
