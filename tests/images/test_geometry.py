"""Sizes, points and intrinsics between raw and matched pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astr_cli.images.geometry import matched_size, resize, scale_intrinsics, to_matched, to_original

SIDES = st.integers(1, 12000)
SIZES = st.tuples(SIDES, SIDES)
LONG_SIDES = st.integers(32, 4000)


@pytest.mark.parametrize(
    ("image", "long_side", "expected"),
    [
        ((1536, 1024), 640, (640, 416)),
        ((1024, 1536), 640, (416, 640)),
        ((3072, 2048), 832, (832, 544)),
        ((640, 480), 832, (640, 480)),  # not enlarged
        ((650, 480), 832, (640, 480)),
        ((1536, 1024), 700, (672, 448)),  # 700 is no multiple: 672, and the other side with it
        ((20, 10), 640, (32, 32)),
        ((4000, 30), 640, (640, 32)),
        ((4000, 3000), 10, (32, 32)),
    ],
)
def test_working_size_of_known_photos(image: tuple[int, int], long_side: int, expected: tuple[int, int]) -> None:
    assert matched_size(*image, long_side) == expected


@given(SIZES, LONG_SIDES)
def test_working_size_keeps_its_promises(image: tuple[int, int], long_side: int) -> None:
    size = matched_size(*image, long_side)
    scale = min(1.0, (long_side // 32 * 32) / max(image))
    for side, raw in zip(size, image, strict=True):
        assert side % 32 == 0
        assert 32 <= side <= long_side
        assert side <= max(32, raw + 16)
        assert abs(side - raw * scale) <= 16 or side == 32


@pytest.mark.parametrize("sizes", [(0, 10, 640), (10, -1, 640), (10, 10, 0)])
def test_working_size_refuses_what_is_not_positive(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        matched_size(*sizes)


@given(
    SIZES,
    LONG_SIDES,
    hnp.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(2)), elements=st.floats(0, 1, width=32)),
)
def test_points_come_back(original: tuple[int, int], long_side: int, unit: np.ndarray) -> None:
    working = matched_size(*original, long_side)
    points = (unit * np.array(original, np.float32) - 0.5).astype(np.float32)
    back = to_original(to_matched(points, original, working), original, working)
    assert back.shape == points.shape
    assert back.dtype == np.float32
    # A float32 of 12000 is exact to 5e-4; a shrunk coordinate loses that times the factor.
    assert np.abs(back - points).max(initial=0) < 1e-3 * max(1, max(original) / 4000)


@given(SIZES, LONG_SIDES)
def test_corners_and_centre_of_the_image_stay_in_place(original: tuple[int, int], long_side: int) -> None:
    working = matched_size(*original, long_side)
    for share in (0.0, 0.5, 1.0):  # of the image's extent, which begins half a pixel before the first centre
        raw = np.array([[original[0] * share - 0.5, original[1] * share - 0.5]])
        expected = np.array([[working[0] * share - 0.5, working[1] * share - 0.5]])
        np.testing.assert_allclose(to_matched(raw, original, working), expected, atol=1e-3)


@given(SIZES, LONG_SIDES, st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(1, 9)))
def test_scaled_intrinsics_project_to_scaled_points(
    original: tuple[int, int], long_side: int, point: tuple[float, float, float]
) -> None:
    working = matched_size(*original, long_side)
    w, h = original
    matrix = np.array([[1.1 * w, 0, w / 2 - 0.3], [0, 1.2 * w, h / 2 - 0.7], [0, 0, 1]])
    raw = matrix @ np.array(point)
    scaled = scale_intrinsics(matrix, original, working) @ np.array(point)
    expected = ((raw[:2] / raw[2]) + 0.5) * (np.array(working) / np.array(original)) - 0.5
    np.testing.assert_allclose(scaled[:2] / scaled[2], expected, atol=1e-6 * max(w, h))


@pytest.mark.parametrize(("old", "new"), [((192, 128), (96, 64)), ((190, 130), (96, 64)), ((60, 50), (96, 64))])
def test_resize_moves_pixels_as_points(old: tuple[int, int], new: tuple[int, int]) -> None:
    """The centre of a smooth blob, measured in the resized image, lies where `to_matched` says."""
    centre = np.array([old[0] * 0.45, old[1] * 0.55])
    x, y = np.meshgrid(np.arange(old[0]), np.arange(old[1]))
    blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * (old[1] / 14) ** 2))
    small = resize(np.rint(blob * 255).astype(np.uint8), new)
    assert small.shape == new[::-1]
    assert small.dtype == np.float32
    assert small.min() >= 0 and small.max() <= 1
    x, y = np.meshgrid(np.arange(new[0]), np.arange(new[1]))
    measured = np.array([(small * x).sum(), (small * y).sum()]) / small.sum()
    np.testing.assert_allclose(measured, to_matched(centre, old, new)[0], atol=0.02)


def test_resize_to_the_same_size_only_scales_the_values() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(resize(gray, (16, 16)), gray.astype(np.float32) / np.float32(255))
