"""Pose errors, AUC and precision of cases whose answer is known."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.evaluate.metrics import (
    RelativePose,
    error_auc,
    normalise,
    pose_auc,
    pose_error,
    precision,
    relative_pose,
    symmetric_epipolar_errors,
)
from astr_cli.evaluate.pose import Estimator, estimate_pose, installed_estimators

FOCAL = 500.0


def turn(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def observed(pose: RelativePose, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normalised points of a cloud in front of both cameras."""
    random = np.random.default_rng(seed)
    cloud = random.uniform((-1.5, -1.5, 4), (1.5, 1.5, 9), (count, 3))
    moved = cloud @ pose.rotation.T + pose.translation
    return cloud[:, :2] / cloud[:, 2:], moved[:, :2] / moved[:, 2:]


POSE = RelativePose(turn((0.2, 1, 0.1), 12), np.array([0.8, -0.1, 0.3]))


@pytest.mark.parametrize("degrees", [0.0, 0.01, 3.0, 90.0, 179.0])
def test_rotation_error_is_the_angle_between(degrees: float) -> None:
    estimate = RelativePose(turn((1, -2, 0.5), degrees) @ POSE.rotation, POSE.translation)
    error = pose_error(estimate, POSE)
    assert error.rotation == pytest.approx(degrees, abs=1e-4)
    assert error.translation == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (30, 30), (90, 90), (150, 30), (180, 0)])
def test_translation_error_folds_the_sign_and_forgets_length(degrees: float, expected: float) -> None:
    truth = RelativePose(np.eye(3), np.array([1.0, 0, 0]))
    estimate = RelativePose(np.eye(3), 7 * turn((0, 0, 1), degrees) @ truth.translation)
    error = pose_error(estimate, truth)
    assert error.translation == pytest.approx(expected, abs=1e-4)
    assert error.largest == error.translation


def test_a_failed_pose_counts_180_degrees() -> None:
    assert pose_error(None, POSE).largest == 180
    assert pose_auc([180.0, 0.0]) == (0.5, 0.5, 0.5)


def test_auc_of_cases_made_by_hand() -> None:
    assert pose_auc([0.0, 0.0]) == (1.0, 1.0, 1.0)
    assert pose_auc([30.0, 180.0]) == (0.0, 0.0, 0.0)
    assert pose_auc([]) == (0.0, 0.0, 0.0)
    # One error of 4: up from (0, 0) to (4, 1), level from there on.
    assert pose_auc([4.0], (5.0, 8.0)) == pytest.approx(((4 / 2 + 1) / 5, (4 / 2 + 4) / 8))
    # 2 and 6 of two: (0, 0), (2, 1/2), then level to 5; or on to (6, 1) and level to 10.
    area5 = 2 * 0.25 + 3 * 0.5
    area10 = 2 * 0.25 + 4 * 0.75 + 4
    assert pose_auc([6.0, 2.0], (5.0, 10.0)) == pytest.approx((area5 / 5, area10 / 10))


@given(st.lists(st.floats(0, 180), min_size=1, max_size=30), st.floats(0, 20))
def test_auc_is_a_share_and_falls_with_errors(errors: list[float], worse: float) -> None:
    better = pose_auc(errors)
    assert all(0 <= value <= 1 for value in better)
    assert list(better) == sorted(better)
    for value, lower in zip(better, pose_auc([error + worse for error in errors]), strict=True):
        assert lower <= value + 1e-12


@given(st.lists(st.floats(0, 15) | st.just(math.inf), min_size=1, max_size=20), st.floats(1, 12))
def test_auc_is_the_integral_of_the_share_of_errors_below(errors: list[float], threshold: float) -> None:
    below = sorted(error for error in errors if error < threshold)
    knots, shares = [0.0, *below], [k / len(errors) for k in range(len(below) + 1)]
    x = np.linspace(0, threshold, 40_001)
    y = np.interp(x, knots, shares)  # level after the last knot
    integral = np.sum((y[1:] + y[:-1]) / 2) * (x[1] - x[0]) / threshold
    assert error_auc(errors, [threshold])[0] == pytest.approx(integral, abs=1e-3)


@given(st.lists(st.floats(0, 180), min_size=1, max_size=10), st.floats(0.1, 10))
def test_auc_does_not_depend_on_the_unit(errors: list[float], unit: float) -> None:
    scaled = error_auc([error * unit for error in errors], [7 * unit])
    # An error at the threshold may fall to either side of it.
    if all(abs(error - 7) > 1e-6 for error in errors):
        assert scaled == pytest.approx(error_auc(errors, [7.0]))


def test_relative_pose_takes_points_from_one_camera_to_the_other() -> None:
    rotation0, rotation1 = turn((1, 0, 0), 20), turn((0, 1, 1), -50)
    translation0, translation1 = np.array([1.0, 2, 3]), np.array([-2.0, 0.5, 1])
    point = np.array([0.3, -0.7, 5])
    pose = relative_pose(rotation0, translation0, rotation1, translation1)
    seen0, seen1 = rotation0 @ point + translation0, rotation1 @ point + translation1
    np.testing.assert_allclose(pose.rotation @ seen0 + pose.translation, seen1, atol=1e-12)


def test_normalise_undoes_the_camera() -> None:
    camera = np.array([[700.0, 2, 320], [0, 690, 240], [0, 0, 1]])
    rays = np.array([[0.1, -0.2, 1], [0.4, 0.3, 1]])
    pixels = rays @ camera.T
    np.testing.assert_allclose(normalise(pixels[:, :2], camera), rays[:, :2], atol=1e-12)
    assert normalise(np.zeros((0, 2)), camera).shape == (0, 2)


def test_epipolar_errors_are_zero_on_true_matches_and_known_off_them() -> None:
    points0, points1 = observed(POSE, 50)
    assert symmetric_epipolar_errors(points0, points1, POSE).max() < 1e-25
    scaled = RelativePose(POSE.rotation, 9 * POSE.translation)
    off = points1 + np.array([0.0, 0.01])
    np.testing.assert_allclose(
        symmetric_epipolar_errors(points0, off, POSE), symmetric_epipolar_errors(points0, off, scaled)
    )
    # Sideways motion without rotation: lines are level, so a point that is d too low is d from both lines.
    sideways = RelativePose(np.eye(3), np.array([1.0, 0, 0]))
    errors = symmetric_epipolar_errors(np.array([[0.2, 0.1]]), np.array([[-0.3, 0.1 + 0.007]]), sideways)
    assert errors == pytest.approx([2 * 0.007**2])


def test_precision_counts_matches_below_the_threshold() -> None:
    sideways = RelativePose(np.eye(3), np.array([1.0, 0, 0]))
    points0 = np.zeros((4, 2))
    points1 = np.array([[0.1, 0.0], [0.2, 0.007], [0.3, 0.0072], [0.4, 0.5]])  # 2 d^2 = 1e-4 at d = 0.00707
    errors = symmetric_epipolar_errors(points0, points1, sideways)
    assert precision(errors) == 0.5
    assert precision(np.zeros(0)) == 0.0


@pytest.mark.parametrize("estimator", installed_estimators())
def test_pose_is_found_among_outliers_and_noise(estimator: Estimator) -> None:
    points0, points1 = observed(POSE, 300)
    random = np.random.default_rng(1)
    points1 = points1 + random.normal(0, 0.1 / FOCAL, points1.shape)
    points1[:90] = random.uniform(-0.4, 0.4, (90, 2))
    estimate = estimate_pose(points0, points1, FOCAL, estimator)
    assert pose_error(estimate, POSE).largest < 2.0
    again = estimate_pose(points0, points1, FOCAL, estimator)
    assert estimate is not None and again is not None
    np.testing.assert_array_equal(estimate.rotation, again.rotation)


@pytest.mark.parametrize("estimator", installed_estimators())
@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_matches_fail(estimator: Estimator, count: int) -> None:
    points0, points1 = observed(POSE, count)
    assert estimate_pose(points0, points1, FOCAL, estimator) is None


@pytest.mark.parametrize("estimator", installed_estimators())
@pytest.mark.parametrize("count", [5, 6, 40])
def test_degenerate_matches_are_no_crash(estimator: Estimator, count: int) -> None:
    same = np.full((count, 2), 0.1)
    assert pose_error(estimate_pose(same, same, FOCAL, estimator), POSE).largest >= 0


@pytest.mark.parametrize("estimator", [name for name in installed_estimators() if name != "magsac"])
def test_a_threshold_in_pixels_is_one_in_normalised_coordinates_times_the_focal_length(estimator: Estimator) -> None:
    points0, points1 = observed(POSE, 200)
    noisy = points1 + np.random.default_rng(2).normal(0, 2 / FOCAL, points1.shape)
    small = estimate_pose(points0, noisy, FOCAL, estimator, 0.5)
    large = estimate_pose(points0, noisy, 2 * FOCAL, estimator, 1.0)
    assert small is not None and large is not None
    np.testing.assert_allclose(small.rotation, large.rotation, atol=1e-6)
    np.testing.assert_allclose(small.translation, large.translation, atol=1e-6)


def test_poselib_is_more_exact_than_ransac_on_noisy_matches() -> None:
    """It adjusts the pose on its inliers; so its AUC at 1 degree tells what matches are worth."""
    pytest.importorskip("poselib")
    errors: dict[Estimator, list[float]] = {"poselib": [], "ransac": []}
    for seed in range(8):
        points0, points1 = observed(POSE, 300, seed)
        noisy = points1 + np.random.default_rng(seed).normal(0, 0.3 / FOCAL, points1.shape)
        for estimator, found in errors.items():
            found.append(pose_error(estimate_pose(points0, noisy, FOCAL, estimator), POSE).largest)
    assert np.median(errors["poselib"]) < 0.5 * np.median(errors["ransac"])


def test_the_estimator_that_decides_comes_first_and_is_left_out_where_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)
    assert installed_estimators() == ("ransac", "magsac")
    monkeypatch.undo()
    pytest.importorskip("poselib")
    assert installed_estimators() == ("poselib", "ransac", "magsac")


def test_the_threshold_means_pixels_of_the_matched_size() -> None:
    """Noise of 2 px leaves RANSAC at 0.5 px few inliers; the same noise is nothing to a camera seen at a tenth."""
    points0, points1 = observed(POSE, 200)
    noisy = points1 + np.random.default_rng(2).normal(0, 2 / FOCAL, points1.shape)
    exact = pose_error(estimate_pose(points0, noisy, FOCAL, "ransac"), POSE).largest
    loose = pose_error(estimate_pose(points0, noisy, FOCAL / 10, "ransac"), POSE).largest
    assert loose < exact
