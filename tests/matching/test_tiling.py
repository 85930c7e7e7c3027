"""Where tiles lie: cores share the plane, every core has its margin, windows hold what they should."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.matching.tiles.geometry import MARGIN, SMALLEST_TILE, level_size, levels_for, spans, tiles, window_around

SIDES = st.integers(SMALLEST_TILE // 32, 40).map(lambda count: 32 * count)
LENGTHS = st.integers(1, 9000)


@given(LENGTHS, SIDES)
def test_cores_share_an_axis_and_have_margins(length: int, side: int) -> None:
    found = spans(length, side)
    assert found[0].low == -np.inf
    assert found[-1].high == np.inf
    assert found[0].origin == 0
    assert found[-1].origin + found[-1].size >= length
    for here, after in pairwise(found):
        assert here.high == after.low
        assert here.origin < after.origin
        assert here.high <= here.origin + here.size - MARGIN
        assert after.low >= after.origin + MARGIN
    for span in found:
        assert span.origin % 8 == 0
        assert span.size % 32 == 0
        assert span.size <= max(side, 32)
        assert span.origin + span.size < length + 32


@given(LENGTHS, LENGTHS, SIDES, st.lists(st.tuples(st.floats(-0.5, 9000), st.floats(-0.5, 9000)), min_size=1))
def test_every_point_lies_in_one_core(width: int, height: int, side: int, points: list[tuple[float, float]]) -> None:
    where = np.minimum(np.array(points), (width - 0.5, height - 0.5))
    held = np.sum([tile.holds(where) for tile in tiles((width, height), side)], axis=0)
    assert (held == 1).all()


@given(st.floats(0.02, 50))
def test_levels_make_things_equally_large(ratio: float) -> None:
    level0, level1 = levels_for(ratio)
    assert min(level0, level1) == 0
    left = ratio * 2 ** ((level0 - level1) / 2)
    if 1 / 16 <= ratio <= 16:
        assert 2**-0.26 < left < 2**0.26
    assert level_size((1000, 500), 0) == (1000, 500)
    assert level_size((1000, 500), 2) == (500, 250)


@given(LENGTHS, LENGTHS, SIDES, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=6, max_size=40))
def test_windows_hold_the_middle_of_their_points(
    width: int, height: int, side: int, shares: list[tuple[float, float]]
) -> None:
    points = np.array(shares) * (width - 1, height - 1)
    found = window_around(points, (width, height), side)
    assert found.x % 8 == found.y % 8 == found.width % 32 == found.height % 32 == 0
    assert max(found.width, found.height) <= 1.5 * side + 32
    for axis, (origin, extent, whole) in enumerate(((found.x, found.width, width), (found.y, found.height, height))):
        assert origin >= 0
        assert origin + extent < whole + 32
        low, high = np.percentile(points[:, axis], (5, 95))
        assert origin - 8 <= (low + high) / 2 <= origin + extent
        if high - low <= side:
            assert origin <= low + 8
            assert high <= origin + extent
