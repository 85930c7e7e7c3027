"""Errors of an estimated relative pose, and the share of matches that agree with the true pose.

Definitions are those of SuperGlue's and LoFTR's evaluation (docs/design.md, Numbers).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

AUC_THRESHOLDS = (5.0, 10.0, 20.0)  # degrees
FINE_THRESHOLDS = (1.0, 2.0, 3.0)  # degrees: shows differences between matchers that find nearly every pose
PRECISION_THRESHOLD = 1e-4  # symmetric squared epipolar distance, normalised coordinates


class RelativePose(NamedTuple):
    """X1 = rotation X0 + translation, camera 0 frame to camera 1 frame."""

    rotation: Array  # (3, 3)
    translation: Array  # (3,), of any length


class PoseAngles(NamedTuple):
    """Angles in degrees."""

    rotation: float
    translation: float

    @property
    def largest(self) -> float:
        """The larger of both angles, which AUC uses."""
        return max(self.rotation, self.translation)


FAILED = PoseAngles(180.0, 180.0)


def relative_pose(rotation0: Array, translation0: Array, rotation1: Array, translation1: Array) -> RelativePose:
    """From two world-to-camera poses, X_k = rotation_k X + translation_k."""
    rotation = rotation1 @ rotation0.T
    return RelativePose(rotation, translation1 - rotation @ translation0)


def pose_error(estimate: RelativePose | None, truth: RelativePose) -> PoseAngles:
    """Angle of the rotation between the two, and between the lines of the translations (images do not show their sign).

    None is a failed estimate: both angles are 180 degrees.
    """
    if estimate is None:
        return FAILED
    turn = estimate.rotation.T @ truth.rotation
    cos_rotation = (np.trace(turn) - 1) / 2
    lengths = np.linalg.norm(estimate.translation) * np.linalg.norm(truth.translation)
    cos_translation = abs(float(estimate.translation @ truth.translation)) / max(float(lengths), 1e-12)
    return PoseAngles(_degrees(float(cos_rotation)), _degrees(cos_translation))


def pose_auc(errors: Sequence[float], thresholds: Sequence[float] = AUC_THRESHOLDS) -> tuple[float, ...]:
    """`error_auc` of pose errors in degrees."""
    return error_auc(errors, thresholds)


def error_auc(errors: Sequence[float], thresholds: Sequence[float]) -> tuple[float, ...]:
    """Area under the recall curve up to each threshold, over the threshold: 0 to 1.

    The curve joins (0, 0) and the points (k-th smallest error, k / n) by straight lines and is level after the last
    error below the threshold. Errors may be infinite. Without errors: 0.
    """
    if not len(errors):
        return tuple(0.0 for _ in thresholds)
    ordered = np.concatenate(([0.0], np.sort(np.asarray(errors, np.float64))))
    recall = np.arange(len(ordered)) / (len(ordered) - 1)
    return tuple(_area(ordered, recall, threshold) / threshold for threshold in thresholds)


def normalise(points: npt.ArrayLike, intrinsics: Array) -> Array:
    """Pixels (M, 2) to the plane z = 1 of the camera, (M, 2)."""
    pixels = np.asarray(points, np.float64).reshape(-1, 2)
    homogeneous = np.concatenate((pixels, np.ones((len(pixels), 1))), axis=1)
    rays = homogeneous @ np.linalg.inv(intrinsics).T
    return np.asarray(rays[:, :2] / rays[:, 2:])


def symmetric_epipolar_errors(points0: Array, points1: Array, pose: RelativePose) -> Array:
    """Symmetric squared epipolar distances (M,) of normalised points (M, 2): LoFTR's `symmetric_epipolar_distance`.

    (x1' E x0)^2 times the sum of the inverse squared lengths of both lines' normals. The length of the translation does
    not matter.
    """
    x, y, z = pose.translation
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ pose.rotation
    ones = np.ones((len(points0), 1))
    rays0, rays1 = np.concatenate((points0, ones), 1), np.concatenate((points1, ones), 1)
    lines1, lines0 = rays0 @ essential.T, rays1 @ essential
    product = np.sum(rays1 * lines1, axis=1)
    normals = [np.maximum(np.sum(np.square(lines[:, :2]), axis=1), 1e-18) for lines in (lines0, lines1)]
    return np.asarray(np.square(product) * (1 / normals[0] + 1 / normals[1]))


def precision(errors: Array, threshold: float = PRECISION_THRESHOLD) -> float:
    """Share of `errors` below `threshold`; 0 for a pair without matches."""
    return float(np.mean(errors < threshold)) if len(errors) else 0.0


def _degrees(cosine: float) -> float:
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _area(ordered: Array, recall: Array, threshold: float) -> float:
    last = int(np.searchsorted(ordered, threshold))
    x = np.append(ordered[:last], threshold)
    y = np.append(recall[:last], recall[last - 1])
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
