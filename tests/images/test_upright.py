"""EXIF orientations and quarter turns: as Pillow turns, there and back, and through a camera."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from astr_cli.images.upright import to_raw, to_upright, turn_intrinsics, turn_pixels, turned, upright_size

CODES = st.integers(1, 8)
SIZES = st.tuples(st.integers(1, 6000), st.integers(1, 6000))
SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1))


@pytest.mark.parametrize("code", range(1, 9))
def test_pixels_stand_as_pillow_puts_them(code: int) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    photo = Image.fromarray(pixels)
    photo.getexif()[0x0112] = code
    expected = np.asarray(ImageOps.exif_transpose(photo))
    assert np.array_equal(turn_pixels(pixels, code), expected)
    assert upright_size((4, 3), code) == expected.shape[::-1]
    for y in range(3):
        for x in range(4):
            u, v = to_upright([[x, y]], (4, 3), code)[0].astype(int)
            assert expected[v, u] == pixels[y, x]


@given(CODES, SIZES, SHARES)
def test_points_come_back(code: int, size: tuple[int, int], share: tuple[float, float]) -> None:
    point = np.array([share]) * size - 0.5
    there = to_upright(point, size, code)
    assert (there >= -0.5 - 1e-9).all()
    assert (there <= np.array(upright_size(size, code)) - 0.5 + 1e-9).all()
    np.testing.assert_allclose(to_raw(there, size, code), point, atol=1e-9)


@given(CODES, st.integers(-4, 8))
def test_quarter_turns_follow_each_other(code: int, quarters: int) -> None:
    pixels = np.arange(12).reshape(3, 4)
    expected = np.rot90(turn_pixels(pixels, code), -quarters)
    assert np.array_equal(turn_pixels(pixels, turned(code, quarters)), expected)


@given(CODES, SIZES, SHARES, st.floats(0.5, 9))
def test_turned_cameras_project_to_turned_points(
    code: int, size: tuple[int, int], share: tuple[float, float], depth: float
) -> None:
    camera = np.array([[700.0, 0, size[0] * 0.4], [0, 650.0, size[1] * 0.6], [0, 0, 1]])
    point = np.array([share[0] - 0.5, share[1] - 0.5, 1.0]) * depth
    upright = turn_intrinsics(camera, size, code)
    assert np.allclose(upright, np.triu(upright))
    assert upright[0, 0] > 0
    assert upright[1, 1] > 0
    raw = camera @ point
    axes = to_upright(np.eye(2), size, code) - to_upright(np.zeros((1, 2)), size, code)
    seen = upright @ np.append(point[:2] @ axes, point[2])
    np.testing.assert_allclose(to_upright([raw[:2] / raw[2]], size, code)[0], seen[:2] / seen[2], atol=1e-6)
