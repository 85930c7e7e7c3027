"""Adaptive scaling (paper section 3.3): how much larger an object appears in image1 than in image0, match by match.

Three ways, tried in this order: two-view geometry when both intrinsics are known, as in the paper; the affine map of
each match's neighbourhood; 1. NOTE the last two, and the focal lengths in the first, are not in the paper
(docs/model.md, Scale ratios).
"""

import cv2
import numpy as np
from scipy.spatial import cKDTree

MIN_INLIERS = 20  # fewer than this and the essential matrix is not trusted
RANSAC_PIXELS = 3.0  # coarse points are off by up to 4 px, so the customary 0.5 px would reject nearly all
NEIGHBOURS = 16  # matches in a local affine fit, itself included
MIN_NEIGHBOURS = 6
NEIGHBOURHOOD = 48.0  # pixels: beyond this a match says nothing about the local scale


def scale_ratios(
    points0: np.ndarray,
    points1: np.ndarray,
    intrinsics0: np.ndarray | None,
    intrinsics1: np.ndarray | None,
    limit: float,
    focal_ratio: bool = True,
) -> np.ndarray:
    """Scale ratio of each match, (M,) float64 in [1/limit, limit].

    points (M, 2) in matched pixels; intrinsics (3, 3) of the matched images, None when unknown. A match without a ratio
    from the geometry falls back to its neighbourhood's affine map, and that to 1.
    """
    # By place, not by score as they come: a score's last bits, which differ between backends, would decide what RANSAC
    # draws.
    order = np.lexsort((points0[:, 0], points0[:, 1]))
    points0, points1 = points0[order].astype(np.float64), points1[order].astype(np.float64)
    ratios = np.full(len(points0), np.nan)
    if intrinsics0 is not None and intrinsics1 is not None:
        ratios = geometric_ratios(points0, points1, intrinsics0, intrinsics1, focal_ratio)
    unknown = ~np.isfinite(ratios)
    if unknown.any():
        ratios[unknown] = affine_ratios(points0, points1)[unknown]
    ratios[~np.isfinite(ratios)] = 1.0
    given = np.empty_like(ratios)
    given[order] = np.clip(ratios, 1.0 / limit, limit)
    return given


def geometric_ratios(
    points0: np.ndarray, points1: np.ndarray, intrinsics0: np.ndarray, intrinsics1: np.ndarray, focal_ratio: bool
) -> np.ndarray:
    """(f1 / f0) * (depth0 / depth1) from the relative pose; NaN where the geometry says nothing.

    NOTE the paper's ratio has no focal lengths (docs/model.md, Scale ratios); `focal_ratio` False leaves them out.
    """
    unknown = np.full(len(points0), np.nan)
    if len(points0) < MIN_INLIERS:
        return unknown
    rays0, rays1 = to_rays(points0, intrinsics0), to_rays(points1, intrinsics1)
    focal0 = (intrinsics0[0, 0] + intrinsics0[1, 1]) / 2
    focal1 = (intrinsics1[0, 0] + intrinsics1[1, 1]) / 2
    essential, inliers = cv2.findEssentialMat(
        rays0[:, :2],
        rays1[:, :2],
        np.eye(3),
        method=cv2.RANSAC,
        prob=0.999,
        threshold=RANSAC_PIXELS / ((focal0 + focal1) / 2),
    )
    if essential is None or essential.shape != (3, 3) or int(inliers.sum()) < MIN_INLIERS:
        return unknown
    found, rotation, translation, _ = cv2.recoverPose(
        essential, rays0[:, :2], rays1[:, :2], np.eye(3), mask=inliers.copy()
    )
    if found < MIN_INLIERS:
        return unknown
    ratio = depth_ratios(rays0, rays1, rotation, translation[:, 0])
    return ratio * (focal1 / focal0) if focal_ratio else ratio


def depth_ratios(rays0: np.ndarray, rays1: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Depth in image0 over depth in image1 of matched rays (M, 3), from X1 = R X0 + t; NaN near the epipoles."""
    # d1 r1 = d0 R r0 + t; the cross product with t removes it, and with it the unknown scale.
    above = np.linalg.norm(np.cross(rays1, translation), axis=1)
    below = np.linalg.norm(np.cross(rays0 @ rotation.T, translation), axis=1)
    valid = (above > 1e-3) & (below > 1e-3)
    return np.where(valid, above / np.where(valid, below, 1.0), np.nan)


def affine_ratios(points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    """sqrt |det| of the affine map that fits each match and its nearest neighbours; NaN where too few are near.

    NOTE for photos without intrinsics, which the paper does not treat (docs/model.md, Scale ratios).
    """
    count = len(points0)
    if count < MIN_NEIGHBOURS:
        return np.full(count, np.nan)
    neighbours = min(NEIGHBOURS, count)
    distance, index = cKDTree(points0).query(points0, k=neighbours, distance_upper_bound=NEIGHBOURHOOD)
    weight = np.isfinite(distance).astype(np.float64)
    index = np.where(np.isfinite(distance), index, 0)
    total = weight.sum(axis=1)
    x0, y0 = _about_their_mean(points0[index], weight)
    x1, y1 = _about_their_mean(points1[index], weight)
    # With X the (2, K) of image0 and Y that of image1, the map is Y X^T (X X^T)^-1.
    determinant = _dots(x0, x0) * _dots(y0, y0) - _dots(x0, y0) ** 2
    moved = _dots(x1, x0) * _dots(y1, y0) - _dots(x1, y0) * _dots(y1, x0)
    # A line of points fixes no area: demand a spread of at least one cell in each direction.
    valid = (total >= MIN_NEIGHBOURS) & (determinant > (8.0**2 * total) ** 2 * 0.05)
    ratio = np.sqrt(np.abs(moved) / np.where(valid, determinant, 1.0))
    return np.where(valid, ratio, np.nan)


def _about_their_mean(near: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y (M, K) of points (M, K, 2) less their weighted mean; 0 where the weight (M, K) is."""
    x, y = ((axis - (_dots(axis, weight) / weight.sum(axis=1))[:, None]) * weight for axis in np.moveaxis(near, 2, 0))
    return x, y


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row products of (M, K) and (M, K): (M,)."""
    return np.einsum("mk,mk->m", a, b)


def to_rays(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels (M, 2) to rays K^-1 x, (M, 3) with z = 1."""
    return np.column_stack([points, np.ones(len(points))]) @ np.linalg.inv(intrinsics).T
