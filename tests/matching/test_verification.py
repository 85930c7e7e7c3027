"""Which matches are verified: those of one epipolar geometry, in any order, and none by chance."""

import numpy as np
import pytest

from astr_cli.matching.regions.verification import FEWEST, verified


def two_views(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a scene in two photos of 640 x 480, taken side by side."""
    generator = np.random.default_rng(seed)
    points = generator.uniform((-2, -1.5, 4), (2, 1.5, 9), (count, 3))
    angle = 0.2
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    moved = points @ turn.T + (0.8, 0.1, 0.3)
    return tuple(500 * each[:, :2] / each[:, 2:] + (320, 240) for each in (points, moved))  # type: ignore[return-value]


def test_true_matches_are_verified_among_wrong_ones_in_any_order() -> None:
    points0, points1 = two_views(200, 1)
    generator = np.random.default_rng(2)
    points1[:60] = generator.uniform((0, 0), (640, 480), (60, 2))
    fit = verified(points0, points1)
    assert fit[60:].mean() > 0.98
    assert fit[:60].mean() < 0.15
    order = generator.permutation(200)
    np.testing.assert_array_equal(verified(points0[order], points1[order]), fit[order])


def test_few_matches_and_those_of_one_place_are_not_verified() -> None:
    points0, points1 = two_views(FEWEST - 1, 3)
    assert not verified(points0, points1).any()
    assert verified(np.zeros((0, 2)), np.zeros((0, 2))).shape == (0,)
    same = np.full((20, 2), 100.0)
    assert verified(same, same).shape == (20,)  # whatever MAGSAC says of one place, it says it without an error


@pytest.mark.parametrize("seed", range(4))
def test_chance_verifies_few(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points0, points1 = (generator.uniform((0, 0), (640, 480), (40, 2)) for _ in (0, 1))
    assert verified(points0, points1).sum() < 20
