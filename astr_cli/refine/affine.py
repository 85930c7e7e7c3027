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
    # Sums run over the middle axis of (2, P, K), several times as fast as over a short last one.
    x, y = (np.ascontiguousarray(points.transpose(2, 1, 0)) for points in (source, target))
    weights = np.ones(x.shape[1:])
    for _ in range(ROUNDS):
        total = weights.sum(axis=0)
        from_middle = x - ((weights * x).sum(axis=1) / total)[:, None]
        to_middle = y - ((weights * y).sum(axis=1) / total)[:, None]
        weighted = weights * from_middle
        (a, b), (_, d) = _products(weighted, from_middle)
        determinant = a * d - b * b
        determinant[determinant <= (THIN * (a + d)) ** 2] = np.nan
        maps = [
            ((p * d - q * b) / determinant, (q * a - p * b) / determinant) for p, q in _products(to_middle, weighted)
        ]
        residual = [to_middle[k] - maps[k][0] * from_middle[0] - maps[k][1] * from_middle[1] for k in range(2)]
        weights = 1 / (1 + (residual[0] ** 2 + residual[1] ** 2) / slack**2)
    return np.stack([np.stack(row, axis=-1) for row in maps], axis=-2)


def _products(one: Floats, other: Floats) -> list[list[Floats]]:
    """Sums (K,) over P of the products of coordinates of points (2, P, K): [of one][of the other]."""
    return [[(first * second).sum(axis=0) for second in other] for first in one]


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
