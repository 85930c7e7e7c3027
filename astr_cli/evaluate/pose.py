"""Relative pose from matches with PoseLib's LO-RANSAC, if it is installed, and OpenCV's RANSAC and MAGSAC."""

from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np

from astr_cli.evaluate.metrics import Array, RelativePose

Estimator = Literal["poselib", "ransac", "magsac"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)  # the most important one comes first
PIXELS = 0.5  # inlier threshold of all three, in pixels of the matched size
CONFIDENCE = 0.99999
MIN_POINTS = 5
# PoseLib's default is up to 100,000 iterations: seconds for a pair without right matches.
POSELIB_ITERATIONS = 10_000
SEED = 0  # for PoseLib; OpenCV seeds its generator equally in every call


def installed_estimators() -> tuple[Estimator, ...]:
    """ESTIMATORS, without PoseLib if it is not installed."""
    return tuple(name for name in ESTIMATORS if name != "poselib" or find_spec("poselib") is not None)


def estimate_pose(
    points0: Array, points1: Array, mean_focal: float, estimator: Estimator, pixels: float = PIXELS
) -> RelativePose | None:
    """The relative pose of two cameras from normalised points (M, 2), or None if it finds none.

    `mean_focal` is the mean of both images' focal lengths in pixels of the matched size: it converts the
    threshold `pixels` to normalised coordinates. The result depends on the order of the rows but not on the run.
    """
    if len(points0) < MIN_POINTS:
        return None
    # Points are passed in pixels of a camera with the mean focal length: MAGSAC's constants are in pixels.
    first, second = points0 * mean_focal, points1 * mean_focal
    if estimator == "poselib":
        return _by_poselib(first, second, mean_focal, pixels)
    return _by_opencv(first, second, mean_focal, estimator, pixels)


def _by_poselib(points0: Array, points1: Array, focal: float, pixels: float) -> RelativePose | None:
    """PoseLib, from pixels of a camera with this focal length and its principal point at (0, 0)."""
    import poselib

    camera = {"model": "SIMPLE_PINHOLE", "width": 1, "height": 1, "params": [focal, 0.0, 0.0]}
    search = {"max_epipolar_error": pixels, "max_iterations": POSELIB_ITERATIONS, "seed": SEED}
    # By default, the loss of its final adjustment would have half the threshold as its scale.
    pose, report = poselib.estimate_relative_pose(points0, points1, camera, camera, search, {})
    found = RelativePose(np.asarray(pose.R, np.float64), np.asarray(pose.t, np.float64).reshape(3))
    if report["num_inliers"] < MIN_POINTS or not np.isfinite(found.rotation).all() or not found.translation.any():
        return None
    return found


def _by_opencv(
    points0: Array, points1: Array, focal: float, estimator: Estimator, pixels: float
) -> RelativePose | None:
    """OpenCV; as in LoFTR's evaluation, the candidate with most points in front of both cameras."""
    import cv2

    camera = np.diag((focal, focal, 1.0))
    method = cv2.RANSAC if estimator == "ransac" else cv2.USAC_MAGSAC
    try:
        essential, mask = cv2.findEssentialMat(points0, points1, camera, method, CONFIDENCE, pixels)
    except cv2.error:  # degenerate points
        return None
    if essential is None or mask is None or essential.size == 0:
        return None
    best_count, best = 0, None
    for candidate in np.split(essential, len(essential) // 3):
        found = cv2.recoverPose(candidate, points0, points1, camera, 1e9, mask=mask.copy())
        count, rotation, translation = found[:3]
        if count > best_count:
            best_count = count
            best = RelativePose(np.asarray(rotation, np.float64), np.asarray(translation, np.float64)[:, 0])
    return best
