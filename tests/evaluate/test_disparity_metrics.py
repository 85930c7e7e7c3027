"""Dense disparity at sub-pixel points, and end-point errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.evaluate.disparity import disparity_at, disparity_errors
from astr_cli.images.geometry import matched_size, to_original

SHAPE = (20, 30)  # (H, W)


def plane(slope_x: float, slope_y: float) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 12 + slope_x * x + slope_y * y


@given(st.floats(0, 29), st.floats(0, 19), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_a_slope_is_read_exactly_between_pixels(x: float, y: float, slope_x: float, slope_y: float) -> None:
    found = disparity_at(np.array([[x, y]]), plane(slope_x, slope_y))
    assert found == pytest.approx([12 + slope_x * x + slope_y * y])


def test_a_jump_is_not_smoothed() -> None:
    jump = plane(0, 0)
    jump[:, 15:] = 40
    found = disparity_at(np.array([[14.4, 3.3], [14.6, 3.3], [13.9, 3.3]]), jump)
    assert found.tolist() == [12, 40, 12]


def test_what_is_unknown_at_the_nearest_pixel_is_unknown() -> None:
    holes = plane(0.5, 0).astype(np.float16)
    holes[5, 8] = np.inf
    holes[6, 8] = np.nan
    found = disparity_at(np.array([[8.4, 5.0], [8.0, 6.4], [8.6, 5.0], [7.0, 5.0]]), holes)
    assert np.isnan(found[:2]).all()
    # 8.6 is nearest to 9, which is known; the hole beside it must not leak in.
    assert found[2:].tolist() == [12 + 0.5 * 9, 12 + 0.5 * 7]


@pytest.mark.parametrize("point", [(-0.6, 3), (29.6, 3), (3, -0.6), (3, 19.6), (-500.0, 3)])
def test_outside_is_unknown(point: tuple[float, float]) -> None:
    assert np.isnan(disparity_at(np.array([point]), plane(0.1, 0.1))).all()


@pytest.mark.parametrize("point", [(-0.4, 3), (29.4, 3), (3, -0.4), (3, 19.4), (29.0, 19.0)])
def test_the_outer_half_pixel_is_inside(point: tuple[float, float]) -> None:
    x, y = np.clip(point[0], 0, 29), np.clip(point[1], 0, 19)
    assert disparity_at(np.array([point]), plane(0.1, 0.2)) == pytest.approx([12 + 0.1 * x + 0.2 * y])


def test_no_matches() -> None:
    assert disparity_at(np.zeros((0, 2)), plane(0, 0)).shape == (0,)
    assert disparity_errors(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0), (1, 1)).shape == (0,)


def test_errors_made_by_hand() -> None:
    points0 = np.array([[20.0, 5], [20, 5], [20, 5], [20, 5]])
    points1 = np.array([[8.0, 5], [11, 9], [8, 6], [8, 5]])
    disparity = np.array([12, 12, 12, np.nan])
    assert disparity_errors(points0, points1, disparity, (1, 1))[:3] == pytest.approx([0, 5, 1])
    assert disparity_errors(points0, points1, disparity, (0.5, 2))[:3] == pytest.approx([0, np.hypot(1.5, 8), 2])
    assert np.isnan(disparity_errors(points0, points1, disparity, (1, 1))[3])


@given(st.integers(200, 1500), st.integers(200, 1500), st.sampled_from([320, 640]), st.floats(0, 60))
def test_a_pixel_off_at_the_matched_size_is_an_error_of_one(width: int, height: int, long_side: int, d: float) -> None:
    size, working = (width, height), matched_size(width, height, long_side)
    scale = (working[0] / width, working[1] / height)
    found0 = np.array([[100.0, 40.0]])
    found1 = found0 - np.array([[d * scale[0], 0.0]])
    for off, expected in (((0.0, 0.0), 0.0), ((1.0, 0.0), 1.0), ((0.0, -1.0), 1.0)):
        raw0, raw1 = (to_original(p, size, working).astype(float) for p in (found0, found1 + np.array([off])))
        assert disparity_errors(raw0, raw1, np.array([d]), scale) == pytest.approx([expected], abs=1e-3)
