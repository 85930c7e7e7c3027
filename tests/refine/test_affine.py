"""Local maps from neighbours, and what may be a map of a surface."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.refine.affine import deformation, neighbour_maps, robust_maps, sane, singular_values

NUMBERS = st.floats(-3, 3).map(lambda x: round(x, 3))


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
def test_singular_values_are_those_of_numpy(numbers: tuple[float, ...]) -> None:
    matrix = np.array(numbers).reshape(1, 2, 2)
    large, small = singular_values(matrix)
    np.testing.assert_allclose([large[0], small[0]], np.linalg.svd(matrix[0])[1], atol=1e-6)


@given(st.floats(0.3, 3.5), st.floats(0.3, 3.5), st.floats(0, 6.3), st.floats(0, 6.3))
def test_deformation_is_that_of_the_inverse(a: float, b: float, turn: float, other: float) -> None:
    def rotation(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    matrix = rotation(turn) @ np.diag([a, b]) @ rotation(other)
    expected = abs(np.log(a)) + abs(np.log(b))
    np.testing.assert_allclose(deformation(np.stack([matrix, np.linalg.inv(matrix)])), expected, atol=1e-9)


def test_sane_maps() -> None:
    tall = np.diag([3.9, 0.7])
    maps = np.stack([np.eye(2), np.diag([1, -1]), 5 * np.eye(2), 0.2 * np.eye(2), tall, np.zeros((2, 2)), np.eye(2)])
    maps[6, 0, 0] = np.nan
    assert sane(maps).tolist() == [True, False, False, False, False, False, False]


def test_neighbours_tell_the_map_whatever_a_third_of_them_says() -> None:
    random = np.random.default_rng(0)
    source = random.uniform(0, 400, (300, 2))
    matrix = np.array([[1.4, -0.6], [0.5, 0.8]])
    target = source @ matrix.T + (7, -3)
    wrong = random.uniform(size=300) < 0.2
    target[wrong] += random.normal(0, 60, (wrong.sum(), 2))
    maps, held = neighbour_maps(source, target, np.arange(300), np.full(300, 2.4))
    assert held.mean() > 0.8
    assert np.median(np.abs(maps[held] - matrix).max(axis=(1, 2))) < 0.02
    clean, held = neighbour_maps(source[~wrong], target[~wrong], np.arange(10), np.full(300, 2.4))
    assert held.all()
    np.testing.assert_allclose(clean, np.tile(matrix, (10, 1, 1)), atol=1e-9)


def test_too_few_neighbours_or_a_line_of_them_tell_nothing() -> None:
    line = np.stack([np.arange(30.0), 2 * np.arange(30.0)], axis=1)
    for points in (line, np.random.default_rng(0).uniform(0, 50, (5, 2)), line[:0]):
        maps, held = neighbour_maps(points, points, np.arange(len(points)), np.ones(len(points)))
        assert not held.any()
        assert np.array_equal(maps, np.tile(np.eye(2), (len(points), 1, 1)))


def test_robust_maps_are_least_squares_where_all_agree() -> None:
    random = np.random.default_rng(3)
    source = random.uniform(0, 50, (4, 12, 2))
    target = source @ np.array([[0.9, 0.1], [0.2, 1.1]]) + random.normal(0, 0.01, source.shape)
    for k, found in enumerate(robust_maps(source, target, np.full(4, 1e3))):
        expected = np.linalg.lstsq(np.c_[source[k], np.ones(12)], target[k], rcond=None)[0][:2].T
        np.testing.assert_allclose(found, expected, atol=1e-8)
