"""Errors of the matches of a rectified pair, from a dense disparity map."""

import numpy as np
import numpy.typing as npt

from astr_cli.evaluate.metrics import Array

SURFACE = 1.0  # raw pixels: four neighbours that differ by more lie on two surfaces, so interpolation is wrong


def disparity_at(points: Array, disparity: npt.NDArray[np.floating]) -> Array:
    """(M,) disparities at sub-pixel `points` (M, 2), from a map (H, W) that is not finite where unknown or occluded.

    NaN if the nearest pixel is unknown or outside. Bilinear if the four pixels around are on one surface; at an edge,
    the value of the nearest pixel, so that no match at an edge is left out.
    """
    height, width = disparity.shape
    nearest = np.rint(points).astype(np.int64)
    last = np.array([width - 1, height - 1])
    inside = ((nearest >= 0) & (nearest <= last)).all(axis=1)
    column, row = np.clip(nearest, 0, last).T
    at_nearest = np.where(inside, disparity[row, column], np.nan)
    at_nearest = np.where(np.isfinite(at_nearest), at_nearest, np.nan)
    clipped = np.clip(points, 0, last)
    low = np.floor(clipped).astype(np.int64)
    high = np.minimum(low + 1, last)
    part_x, part_y = (clipped - low).T
    around = np.stack([disparity[y, x] for y in (low[:, 1], high[:, 1]) for x in (low[:, 0], high[:, 0])])
    around = np.where(np.isfinite(around), around, np.nan).astype(np.float64)
    weights = np.stack(((1 - part_y) * (1 - part_x), (1 - part_y) * part_x, part_y * (1 - part_x), part_y * part_x))
    smooth = around.max(axis=0) - around.min(axis=0) <= SURFACE  # false if one of the four is NaN
    return np.asarray(np.where(smooth & np.isfinite(at_nearest), np.sum(around * weights, axis=0), at_nearest))


def disparity_errors(points0: Array, points1: Array, disparity: Array, scale: tuple[float, float]) -> Array:
    """(M,) distances of points1 from (x - d, y) of points0, both (M, 2) raw; NaN if the disparity is NaN.

    `scale` (x, y) converts raw pixels of image 1 into those of the matched size.
    """
    truth = points0 - np.stack((disparity, np.zeros_like(disparity)), axis=1)
    return np.asarray(np.linalg.norm((points1 - truth) * np.asarray(scale), axis=1))
