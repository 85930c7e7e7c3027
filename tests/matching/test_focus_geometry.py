"""Where a second look goes: on the photo's own grid, at a size that fits, and only where it shows something new."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.matching.focus.geometry import (
    LEVELS,
    MARGIN,
    Box,
    box_around,
    level_size,
    levels_for,
    look_again,
    window_at,
)
from astr_cli.matching.regions.geometry import CELL, Window, size_ratio

SIDES = st.integers(2, 40).map(lambda count: 32 * count)
SIZES = st.tuples(SIDES, SIDES)
SHARES = st.tuples(st.floats(0, 1), st.floats(0, 1))
levels = st.sampled_from(LEVELS)


def box_of(size: tuple[int, int], first: tuple[float, float], second: tuple[float, float]) -> Box:
    low, high = np.minimum(first, second) * size, np.maximum(first, second) * size
    return Box(*map(float, (*low, *high)))


def centres(window: Window, level: int, axis: int) -> np.ndarray:
    """Of the cells of a window along an axis, in matched pixels from the photo's corner."""
    count = window[2 + axis] // CELL
    return (window[axis] + CELL * (np.arange(count) + 0.5)) / 2.0**level


@given(SIZES, SHARES, SHARES, levels, levels)
def test_cells_of_all_levels_lie_on_one_grid(
    size: tuple[int, int], first: tuple[float, float], second: tuple[float, float], one: int, other: int
) -> None:
    box = box_of(size, first, second)
    coarse, fine = sorted((one, other))
    for axis in (0, 1):
        found = {level: centres(window_at(box, size, level, 1280), level, axis) for level in (coarse, fine)}
        grid = 4 + np.arange(-100, 2000) * CELL / 2.0**fine
        for level in (coarse, fine):
            assert np.isin(found[level], grid).all()
        own = found[fine]
        shared = found[coarse][(found[coarse] >= own[0]) & (found[coarse] <= own[-1])]
        assert np.isin(shared, own).all()
    assert np.isin(4 + CELL * np.arange(5), 4 + np.arange(200) * CELL / 2.0 ** max(one, 0)).all()


@given(SIZES, SHARES, SHARES, levels)
def test_windows_hold_their_box(
    size: tuple[int, int], first: tuple[float, float], second: tuple[float, float], level: int
) -> None:
    box, sized = box_of(size, first, second), level_size(size, level)
    window = window_at(box, size, level, 1280)
    assert max(window.width, window.height) <= 1280
    assert window.width % 32 == window.height % 32 == 0
    for axis in (0, 1):
        low, high = box[axis] * 2.0**level, box[2 + axis] * 2.0**level
        if high - low > 1280:
            low, high = (low + high) / 2 - 600, (low + high) / 2 + 600
        assert window[axis] > -CELL
        assert window[axis] + window[2 + axis] <= sized[axis] + 32 + CELL
        assert window[axis] <= low + CELL
        assert window[axis] + window[2 + axis] >= high - CELL


def test_the_window_of_level_0_is_a_part_of_the_whole_photo() -> None:
    assert window_at(Box(100, 0, 500, 480), (640, 480), 0, 640) == Window(96, 0, 416, 480)


@given(st.floats(0.3, 3), st.floats(0, 7), st.integers(0, 2**31))
def test_the_ratio_of_sizes_is_that_of_a_similarity(ratio: float, angle: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.uniform(0, 600, (200, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert size_ratio(points, ratio * points @ turn.T + 40) == pytest.approx(ratio, rel=1e-6)
    assert size_ratio(points[:1], points[:1]) == 1.0


@given(SHARES, SHARES, SHARES, SHARES, st.floats(0.26, 3.9))
def test_levels_fit_and_make_things_equally_large(
    first0: tuple[float, float],
    second0: tuple[float, float],
    first1: tuple[float, float],
    second1: tuple[float, float],
    ratio: float,
) -> None:
    box0, box1 = box_of((640, 480), first0, second0), box_of((640, 480), first1, second1)
    found = levels_for((box0, box1), ((640, 480), (640, 480)), ratio, 640)
    assert found is not None
    level0, level1 = found
    assert 2**-0.51 < ratio * 2.0 ** (level1 - level0) < 2**0.51
    for box, level in ((box0, level0), (box1, level1)):
        assert level in LEVELS
        assert max(box.sides) * 2.0**level <= (1 + 2 * MARGIN) * 640


def test_a_look_pays_for_a_small_part_or_unlike_sizes_only() -> None:
    generator = np.random.default_rng(3)
    size = (640, 480)
    points = generator.uniform(0, 1, (300, 2)) * size
    assert look_again(points, points, size, size, 640) is None  # the whole of both photos
    assert look_again(points, points * (0.9, 0.7), size, size, 640) is None
    part = points * 0.4 + 100
    look = look_again(part, part, size, size, 640)
    assert look is not None
    assert (look.level0, look.level1) == (1, 1)
    look = look_again(points, points * 0.5, size, size, 640)
    assert look is not None
    assert (look.level0, look.level1) == (0, 1)
    strip = points * (1, 0.3)
    look = look_again(strip, strip, size, size, 640)
    assert look is not None
    assert (look.level0, look.level1) == (0, 0)  # small, but too long to be enlarged


def test_boxes_leave_strays_out() -> None:
    points = np.concatenate([np.random.default_rng(4).uniform(200, 300, (98, 2)), [(5, 5), (630, 470)]])
    box = box_around(points, (640, 480))
    assert 180 < box.x0 < 205
    assert 295 < box.y1 < 320
