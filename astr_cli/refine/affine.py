"""Local affine maps between two photos, from the tracks that both see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astr_cli.refine.observations import Floats, Index

NEIGHBOURS = 12
FEWEST = 6  # neighbours: three give a map, and no say in which of them is wrong
ROUNDS = 4
SLACK = 0.6  # matched pixels: the residual at which a neighbour has half its weight
SINGULAR = (0.25, 4.0)
STRETCH = 5.0  # largest ratio of the two singular values
THIN = 1e-3  # spread of the neighbours across, over that along: below, they lie on a line


def neighbour_maps(source: Floats, target: Floats, at: Index, pixel: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Maps (K, 2, 2) from the source photo to the target at K of the C points (C, 2) that both see, and if each holds.

    Each is a robust fit to the nearest points in the source; `pixel` (C,) is photo pixels per matched pixel in the
    target. Where too few are near, or the fit is no view of a surface, the map is the identity and does not hold.
    """
    count = min(NEIGHBOURS, len(source))
    if count < FEWEST:
        return np.tile(np.eye(2), (len(at), 1, 1)), np.zeros(len(at), bool)
    _, near = cKDTree(source).query(source[at], count)
    maps = robust_maps(source[near], target[near], SLACK * pixel[at])
    held = sane(maps)
    return np.where(held[:, None, None], maps, np.eye(2)), held


def robust_maps(source: Floats, target: Floats, slack: Floats) -> Floats:
    """(K, 2, 2) affine maps from points (K, P, 2) to points (K, P, 2) by iteratively reweighted least squares.

    Weights are 1 / (1 + (residual / slack)^2), all 1 at first. NaN where the points lie on a line.
    """
    weights = np.ones(source.shape[:2])
    for _ in range(ROUNDS):
        total = weights.sum(axis=1)[:, None, None]
        from_middle = source - (weights[..., None] * source).sum(axis=1, keepdims=True) / total
        to_middle = target - (weights[..., None] * target).sum(axis=1, keepdims=True) / total
        weighted = weights[..., None] * from_middle
        spread = weighted.transpose(0, 2, 1) @ from_middle
        maps = (to_middle.transpose(0, 2, 1) @ weighted) @ _inverse(spread)
        residual = to_middle - from_middle @ maps.transpose(0, 2, 1)
        weights = 1 / (1 + (residual**2).sum(axis=2) / slack[:, None] ** 2)
    return maps


def _inverse(spread: Floats) -> Floats:
    """Inverses of symmetric (K, 2, 2); NaN where the points are on a line."""
    a, b, d = spread[:, 0, 0], spread[:, 0, 1], spread[:, 1, 1]
    determinant = a * d - b * b
    thin = determinant <= (THIN * (a + d)) ** 2
    determinant = np.where(thin, np.nan, determinant)
    return np.stack([d, -b, -b, a], axis=1).reshape(-1, 2, 2) / determinant[:, None, None]


def singular_values(maps: Floats) -> tuple[Floats, Floats]:
    """The larger and the smaller singular value (...) of maps (..., 2, 2)."""
    a, b, c, d = (maps[..., i, j] for i in range(2) for j in range(2))
    square, determinant = a * a + b * b + c * c + d * d, np.abs(a * d - b * c)
    total, apart = np.sqrt(square + 2 * determinant), np.sqrt(np.maximum(square - 2 * determinant, 0))
    return (total + apart) / 2, (total - apart) / 2


def sane(maps: Floats) -> NDArray[np.bool_]:
    """Which of the maps (..., 2, 2) two views of one surface may have: no mirroring, no extreme size or stretch."""
    large, small = singular_values(maps)
    upright = maps[..., 0, 0] * maps[..., 1, 1] > maps[..., 0, 1] * maps[..., 1, 0]
    found: NDArray[np.bool_] = upright & (small >= SINGULAR[0]) & (large <= SINGULAR[1]) & (large <= STRETCH * small)
    return found


def deformation(maps: Floats) -> Floats:
    """(...) how much maps (..., 2, 2) change a patch: the sum of |log singular value|; the same for their inverses."""
    large, small = singular_values(maps)
    return np.abs(np.log(large)) + np.abs(np.log(small))
