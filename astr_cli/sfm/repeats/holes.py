"""Holes: details that other pairs match, amid the matches of a pair that does not match them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from astr_cli.sfm.repeats.pairs import VerifiedPair

GRID = 40  # cells per long side
AROUND, WITHIN = 9, 3  # cells: the surroundings of a place, and the place
COVERED, KNOWN, EMPTY = 0.5, 0.75, 0.25  # shares of cells with matches: around, in other pairs, in this pair
HALF = 0.5  # of a cell: holes are counted upon it, so that of pairs without any the larger one is the surer

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def hole_shares(pairs: Sequence[VerifiedPair], textured: Mapping[int, Mask] | None = None) -> Floats:
    """(P,) the holes of each pair, over what it covers of its two photos.

    textured: the (GRID, GRID) cells of each photo that count, since matches on bare sky come and go; None: all.
    """
    seen: dict[int, list[tuple[int, Floats]]] = {}
    for number, pair in enumerate(pairs):
        for image, points in ((pair.image0, pair.points0), (pair.image1, pair.points1)):
            seen.setdefault(image, []).append((number, _cells(points)))
    holes, covered = np.full(len(pairs), HALF), np.ones(len(pairs))
    for image, grids in seen.items():
        near = [uniform_filter(grid, WITHIN, mode="constant") for _, grid in grids]
        known = np.sort(near, axis=0)[-2:].min(0) > KNOWN
        if textured is not None:
            known &= textured[image]
        for (number, grid), own in zip(grids, near, strict=True):
            area = known & (uniform_filter(grid, AROUND, mode="constant") > COVERED)
            holes[number] += (area & (own < EMPTY)).sum()
            covered[number] += area.sum()
    return np.asarray(holes / covered)


def _cells(points: Floats) -> Floats:
    """(GRID, GRID) ones where there are matches."""
    cells = np.clip((points * GRID).astype(int), 0, GRID - 1)
    grid = np.zeros((GRID, GRID))
    grid[cells[:, 1], cells[:, 0]] = 1
    return grid
