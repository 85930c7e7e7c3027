"""Errors of an estimated homography and of matches, from the true homography."""

import numpy as np

from astr_cli.evaluate.metrics import Array
from astr_cli.images.geometry import scale_intrinsics

CORNER_THRESHOLDS = (3.0, 5.0, 10.0)  # pixels of the matched size (docs/model.md, Evaluation)
PIXELS = 3.0  # RANSAC's inlier threshold and the largest error of a right match, in pixels of the matched size
CONFIDENCE = 0.99999
MAX_ITERATIONS = 10_000
MIN_POINTS = 4


def corners(size: tuple[int, int]) -> Array:
    """(4, 2) centres of the corner pixels of an image of `size` (width, height)."""
    right, bottom = size[0] - 1.0, size[1] - 1.0
    return np.array([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]])


def oriented(homography: Array, size: tuple[int, int]) -> Array:
    """The same homography with the sign that puts the centre of an image of `size` in front of the horizon."""
    centre = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2, 1.0])
    return -homography if float(homography[2] @ centre) < 0 else homography


def warp(points: Array, homography: Array) -> Array:
    """(M, 2) points mapped by an `oriented` homography; infinite beyond the horizon."""
    moved = np.concatenate((points, np.ones((len(points), 1))), axis=1) @ homography.T
    depth = moved[:, 2:]
    before = depth > 1e-9 * np.abs(homography).max()
    return np.where(before, moved[:, :2] / np.where(before, depth, 1.0), np.inf)


def scale_homography(
    homography: Array,
    original0: tuple[int, int],
    working0: tuple[int, int],
    original1: tuple[int, int],
    working1: tuple[int, int],
) -> Array:
    """Matched image 0 to matched image 1, from raw image 0 to raw image 1; pixel centres are whole in both."""
    change0 = scale_intrinsics(np.eye(3), original0, working0)
    change1 = scale_intrinsics(np.eye(3), original1, working1)
    return np.asarray(change1 @ homography @ np.linalg.inv(change0))


def corner_error(estimate: Array | None, truth: Array, size: tuple[int, int]) -> float:
    """Mean distance of the four corners of image 0, of `size`, between estimate and truth, both `oriented`.

    Infinite without an estimate (None) or if the estimate or the truth maps a corner beyond the horizon.
    """
    if estimate is None:
        return float("inf")
    there = warp(corners(size), truth)
    if not np.isfinite(there).all():
        return float("inf")
    return float(np.mean(np.linalg.norm(warp(corners(size), estimate) - there, axis=1)))


def transfer_errors(points0: Array, points1: Array, truth: Array) -> Array:
    """(M,) distances in image 1 between points1 and points0 mapped by the `oriented` truth; both (M, 2)."""
    return np.asarray(np.linalg.norm(warp(points0, truth) - points1, axis=1))


def estimate_homography(points0: Array, points1: Array, size: tuple[int, int]) -> Array | None:
    """The `oriented` homography from points0 to points1 (M, 2), by OpenCV's RANSAC at PIXELS; None if it finds none.

    Points are in pixels of the matched size, which for image 0 is `size`.
    """
    import cv2

    if len(points0) < MIN_POINTS:
        return None
    try:
        found, _ = cv2.findHomography(
            points0, points1, cv2.RANSAC, PIXELS, maxIters=MAX_ITERATIONS, confidence=CONFIDENCE
        )
    except cv2.error:  # degenerate points
        return None
    if found is None or not np.isfinite(found).all():
        return None
    return oriented(np.asarray(found, np.float64), size)
