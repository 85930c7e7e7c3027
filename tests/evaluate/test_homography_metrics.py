"""Homographies, corner errors and transfer errors of cases whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.evaluate.homography import (
    corner_error,
    corners,
    estimate_homography,
    oriented,
    scale_homography,
    transfer_errors,
    warp,
)
from astr_cli.images.geometry import matched_size, to_matched

SIZE = (200, 150)
TILTED = np.array([[0.9, 0.1, 12.0], [-0.08, 1.1, -7.0], [4e-4, -2e-4, 1.0]])

small = st.floats(-0.15, 0.15)
homographies = st.builds(
    lambda a, b, c, d, x, y, p, q: np.array([[1 + a, b, 100 * x], [c, 1 + d, 100 * y], [p / 500, q / 500, 1.0]]),
    *[small] * 8,
)
sizes = st.tuples(st.integers(100, 1500), st.integers(100, 1500))


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1.0, y], [0, 0, 1.0]])


@given(homographies, st.floats(-5, 5).filter(lambda factor: abs(factor) > 0.01))
def test_the_true_homography_has_no_error_whatever_its_factor(matrix: np.ndarray, factor: float) -> None:
    truth = oriented(matrix, SIZE)
    assert corner_error(oriented(factor * matrix, SIZE), truth, SIZE) < 1e-8


def test_corner_errors_made_by_hand() -> None:
    assert corner_error(shift(3, 4), np.eye(3), SIZE) == pytest.approx(5)
    # Corners of 11 x 21 pixels are 10 and 20 apart: twice the size moves them by 0, 10, sqrt(500), 20.
    assert corner_error(np.diag((2.0, 2.0, 1.0)), np.eye(3), (11, 21)) == pytest.approx((30 + math.sqrt(500)) / 4)
    assert corners((11, 21)).tolist() == [[0, 0], [10, 0], [10, 20], [0, 20]]


def test_a_failed_homography_is_infinitely_far_off() -> None:
    assert corner_error(None, np.eye(3), SIZE) == math.inf
    beyond = np.array([[1.0, 0, 0], [0, 1.0, 0], [-1 / 150, 0, 1.0]])  # the horizon is at x = 150
    assert corner_error(oriented(beyond, SIZE), np.eye(3), SIZE) == math.inf
    assert corner_error(np.eye(3), oriented(beyond, SIZE), SIZE) == math.inf
    assert corner_error(oriented(beyond, SIZE), oriented(beyond, SIZE), SIZE) == math.inf


def test_points_beyond_the_horizon_are_nowhere() -> None:
    tilted = np.array([[1.0, 0, 0], [0, 1.0, 0], [-0.01, 0, 1.0]])
    moved = warp(np.array([[50.0, 10], [100, 10], [150, 10]]), tilted)
    np.testing.assert_allclose(moved[0], [100, 20])
    assert np.isinf(moved[1:]).all()


def test_transfer_errors_are_distances_in_image_1() -> None:
    points = np.array([[10.0, 20], [30, 40]])
    errors = transfer_errors(points, np.array([[13.0, 24], [30, 40.5]]), np.eye(3))
    assert errors == pytest.approx([5, 0.5])
    assert transfer_errors(np.zeros((0, 2)), np.zeros((0, 2)), np.eye(3)).shape == (0,)


@given(homographies, sizes, sizes, st.sampled_from([320, 640, 832]))
def test_a_scaled_homography_is_the_same_mapping_of_resized_photos(
    matrix: np.ndarray, size0: tuple[int, int], size1: tuple[int, int], long_side: int
) -> None:
    working0, working1 = matched_size(*size0, long_side), matched_size(*size1, long_side)
    raw = np.array([[0.0, 0], [size0[0] / 3, size0[1] / 2], [40.5, 7.25]])
    truth = oriented(matrix, size0)
    moved = warp(raw, truth)
    if not np.isfinite(moved).all() or abs(moved).max() > 1e4:
        return
    scaled = scale_homography(truth, size0, working0, size1, working1)
    expected = to_matched(moved, size1, working1)
    np.testing.assert_allclose(warp(to_matched(raw, size0, working0).astype(float), scaled), expected, atol=5e-3)


def test_a_photo_and_its_half_are_the_same_at_one_size() -> None:
    """By (x + 0.5) / 2 - 0.5; a reader that took corners for centres would be off by a quarter of a pixel."""
    half = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1.0]])
    same = scale_homography(half, (1280, 960), (320, 256), (640, 480), (320, 256))
    np.testing.assert_allclose(same, np.eye(3), atol=1e-12)


def observed(count: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    points0 = random.uniform((0, 0), SIZE, (count, 2))
    points1 = warp(points0, TILTED) + random.normal(0, 0.3, (count, 2))
    points1[:wrong] = random.uniform((0, 0), SIZE, (wrong, 2))
    return points0, points1


def test_the_homography_is_found_among_outliers_and_noise() -> None:
    points0, points1 = observed(300, 180)
    found = estimate_homography(points0, points1, SIZE)
    assert found is not None and corner_error(found, TILTED, SIZE) < 1
    again = estimate_homography(points0, points1, SIZE)
    assert again is not None
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_matches_fail(count: int) -> None:
    assert estimate_homography(*observed(count, 0), SIZE) is None


@pytest.mark.parametrize("points", [np.full((40, 2), 7.0), np.stack((np.arange(40.0), np.zeros(40)), axis=1)])
def test_degenerate_matches_are_no_crash(points: np.ndarray) -> None:
    assert corner_error(estimate_homography(points, points, SIZE), np.eye(3), SIZE) >= 0
