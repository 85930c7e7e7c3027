"""A photo at halved sizes."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = 5


class Pyramid(NamedTuple):
    """Grey values of one photo, masked pixels NaN: a patch that touches one has no grey value at all."""

    levels: tuple[NDArray[np.float32], ...]  # each the 2 x 2 means of the one before


def build_pyramid(pixels: NDArray[np.uint8] | NDArray[np.float32], mask: NDArray[np.bool_] | None = None) -> Pyramid:
    """Levels of grey (H, W) from 0 to 255; `mask` (H, W) is False at pixels to leave out.

    A pixel of a level is masked where any of its four pixels is.
    """
    level = np.array(pixels, np.float32)
    if mask is not None:
        level[~mask] = np.nan
    levels = [level]
    while len(levels) < LEVELS and min(level.shape) >= 4:
        height, width = (side // 2 * 2 for side in level.shape)
        # The means of 2 x 2 pixels; NaN where one of them is.
        level = np.asarray(cv2.resize(level[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
        levels.append(level)
    return Pyramid(tuple(levels))


def to_level(xy: NDArray[np.float64], level: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """Photo pixels (K, 2) as pixels of a level, one for all or (K,)."""
    return (xy + 0.5) * np.exp2(-np.asarray(level, np.float64))[..., None] - 0.5


def from_level(xy: NDArray[np.float64], level: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """The inverse of `to_level`."""
    return (xy + 0.5) * np.exp2(np.asarray(level, np.float64))[..., None] - 0.5
