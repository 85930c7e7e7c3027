"""Holes: details that other pairs match, amid the matches of a pair that does not match them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from astr_cli.sfm.repeats.doubts import Doubts
from astr_cli.sfm.repeats.pairs import VerifiedPair

GRID = 40  # cells per long side
AROUND, WITHIN = 9, 3  # cells: the surroundings of a place, and the place
COVERED, KNOWN, EMPTY = 0.5, 0.75, 0.25  # shares of cells with matches: around, in other pairs, in this pair

Floats = NDArray[np.float64]


def hole_doubts(pairs: Sequence[VerifiedPair]) -> Doubts:
    """The holes of each pair, and what it covers of its two photos."""
    seen: dict[int, list[tuple[int, Floats]]] = {}
    for number, pair in enumerate(pairs):
        for image, points in ((pair.image0, pair.points0), (pair.image1, pair.points1)):
            seen.setdefault(image, []).append((number, cells(points)))
    holes, covered = np.zeros(len(pairs)), np.zeros(len(pairs))
    for grids in seen.values():
        near = [uniform_filter(grid, WITHIN, mode="constant") for _, grid in grids]
        known = np.sort(near, axis=0)[-2:].min(0) > KNOWN
        for (number, grid), own in zip(grids, near, strict=True):
            area = known & (uniform_filter(grid, AROUND, mode="constant") > COVERED)
            holes[number] += (area & (own < EMPTY)).sum()
            covered[number] += area.sum()
    return Doubts(holes, covered)


def cells(points: Floats) -> Floats:
    """(GRID, GRID) ones where there are matches."""
    columns, rows = np.clip((points * GRID).astype(int), 0, GRID - 1).T
    grid = np.zeros((GRID, GRID))
    grid[rows, columns] = 1
    return grid
