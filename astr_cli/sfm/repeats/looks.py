"""Whether two photos show the same at a match, by normalized correlation of small patches."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astr_cli.images.decode import read_reduced
from astr_cli.images.errors import ImageError

SIDE = 320  # pixels of the long side at which photos are compared
BLUR = 0.7  # pixels
HALF = 4  # pixels around a match
SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # pixels that a match may be off
NEIGHBOURS = 12  # matches that say how the second patch lies
STEADY = 4.0  # square pixels; with few neighbours, the patches lie alike
ALIKE = 0.7  # correlation of a match that counts
FOUND = 0.8  # correlation of a place that is found elsewhere nearby
WIDE, SEARCH = 8, 12  # pixels: half the patch that is searched for, and how far

Floats = NDArray[np.float64]
Picture = NDArray[np.float32]


def small_photo(path: Path) -> Picture | None:
    """(h, w) grey, blurred a little; None for a photo that cannot be read."""
    try:
        pixels = read_reduced(path, (2 * SIDE, 2 * SIDE)).pixels
    except ImageError:
        return None
    scale = SIDE / max(pixels.shape)
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), BLUR), np.float32)


def alike(first: Picture, second: Picture, points0: Floats, points1: Floats) -> NDArray[np.bool_]:
    """(M,) whether the patches of matches agree; points (M, 2) in parts of the long side."""
    start, end = points0 * SIDE, points1 * SIDE
    _, near = cKDTree(start).query(start, k=min(NEIGHBOURS, len(start)))
    before, after = start[near] - start[:, None], end[near] - end[:, None]
    steady = STEADY * np.eye(2)
    turns = np.linalg.solve(np.swapaxes(before, 1, 2) @ before + steady, np.swapaxes(before, 1, 2) @ after + steady)
    steps = np.arange(-HALF, HALF + 1.0)
    offsets = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    patches, places = _sampled(first, start[:, None] + offsets), end[:, None] + offsets @ turns
    best = np.full(len(start), -1.0)
    for shift in SHIFTS:
        best = np.maximum(best, _correlations(patches, _sampled(second, places + np.array(shift))))
    return best > ALIKE


def found_near(first: Picture, second: Picture, place0: Floats, place1: Floats) -> bool:
    """Whether `second` shows near place1 what `first` shows at place0; (2,) in parts of the long side."""
    patch, window = _cut(first, place0, WIDE), _cut(second, place1, WIDE + SEARCH)
    return bool(cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED).max() > FOUND)


def _cut(image: Picture, place: Floats, half: int) -> Picture:
    """The square around a place; its edges are repeated beyond them."""
    height, width = image.shape
    x, y = np.rint(place * SIDE).astype(int)
    rows = np.clip(np.arange(y - half, y + half + 1), 0, height - 1)
    columns = np.clip(np.arange(x - half, x + half + 1), 0, width - 1)
    return np.ascontiguousarray(image[np.ix_(rows, columns)])


def _sampled(image: Picture, places: Floats) -> Picture:
    x, y = (places - 0.5).astype(np.float32).transpose(2, 0, 1)  # (0, 0) is the corner of the first pixel
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _correlations(first: Picture, second: Picture) -> Floats:
    """(M,) of rows; of flat ones about 0."""
    first = first - first.mean(1, keepdims=True)
    second = second - second.mean(1, keepdims=True)
    spread = np.sqrt((first**2).mean(1) * (second**2).mean(1))
    return np.asarray((first * second).mean(1) / np.maximum(spread, 1), np.float64)
