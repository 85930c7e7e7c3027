"""Where a photo has texture that a match can hold on to."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from astr_cli.images.decode import read_reduced
from astr_cli.images.errors import ImageError
from astr_cli.sfm.repeats.holes import GRID, Mask

CELL = 8  # pixels per cell, at which the photo is looked at
LEAST = (2 * CELL * GRID, 2 * CELL * GRID)  # (w, h) at which a huge JPEG may be decoded
ENOUGH = 0.5  # of the photo's median


def textured_cells(photo: Path) -> Mask:
    """The (GRID, GRID) cells whose corners are at least half as strong as in the middle cell of the photo; all of them
    for a photo that cannot be read. The strength is the smaller eigenvalue of the structure tensor.
    """
    try:
        pixels = read_reduced(photo, LEAST).pixels
    except ImageError:
        return np.ones((GRID, GRID), np.bool_)
    height, width = pixels.shape
    scale = GRID * CELL / max(width, height)
    size = (max(CELL, round(width * scale)), max(CELL, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    strength = cv2.cornerMinEigenVal(small.astype(np.float32), CELL, 3)
    cells = cv2.resize(strength, (size[0] // CELL, size[1] // CELL), interpolation=cv2.INTER_AREA)
    mask = np.zeros((GRID, GRID), np.bool_)
    mask[: cells.shape[0], : cells.shape[1]] = _above(cells)
    return mask


def _above(cells: NDArray[np.float32]) -> Mask:
    roots = np.sqrt(np.maximum(cells, 0))
    return np.asarray(roots >= ENOUGH * np.median(roots))
