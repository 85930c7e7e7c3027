"""Relative pose from matches, by OpenCV's essential matrix with RANSAC or MAGSAC."""

from typing import Literal, get_args

import numpy as np

from astr_cli.evaluate.metrics import Array, RelativePose

Estimator = Literal["ransac", "magsac"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
PIXELS = 0.5  # inlier threshold, in pixels of the matched size
CONFIDENCE = 0.99999
MIN_POINTS = 5


def estimate_pose(points0: Array, points1: Array, mean_focal: float, estimator: Estimator) -> RelativePose | None:
    """The relative pose of two cameras from normalised points (M, 2), or None when none is found.

    `mean_focal` is the mean of both images' focal lengths in pixels of the matched size: it turns PIXELS into the
    threshold. As in SuperGlue's and LoFTR's evaluation, the candidate of most points before both cameras is taken.
    """
    import cv2

    if len(points0) < MIN_POINTS:
        return None
    # MAGSAC's own constants mean pixels, so points go in as those of a camera of the mean focal length.
    camera = np.diag((mean_focal, mean_focal, 1.0))
    method = cv2.RANSAC if estimator == "ransac" else cv2.USAC_MAGSAC
    first, second = points0 * mean_focal, points1 * mean_focal
    try:
        essential, mask = cv2.findEssentialMat(first, second, camera, method, CONFIDENCE, PIXELS)
    except cv2.error:  # degenerate points
        return None
    if essential is None or mask is None or essential.size == 0:
        return None
    best_count, best = 0, None
    for candidate in np.split(essential, len(essential) // 3):
        count, rotation, translation, _ = cv2.recoverPose(candidate, first, second, camera, 1e9, mask=mask.copy())[:4]
        if count > best_count:
            best_count = count
            best = RelativePose(np.asarray(rotation, np.float64), np.asarray(translation, np.float64)[:, 0])
    return best
