"""Aligning camera centres."""

import numpy as np
import pytest

from astr_cli.sfm.mapping.alignment import align, centre_error


def moved(points: np.ndarray, scale: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    return scale * points @ rotation.T + random.normal(size=3)


@pytest.mark.parametrize("seed", range(5))
def test_a_similarity_leaves_no_error(seed: int) -> None:
    truth = np.random.default_rng(seed).normal(size=(8, 3))
    estimate = moved(truth, 0.3, seed + 10)
    assert centre_error(estimate, truth) < 1e-12
    assert np.allclose(align(estimate, truth).apply(estimate), truth)
    assert align(estimate, truth).scale == pytest.approx(1 / 0.3)


def test_a_mirror_image_is_not_a_similarity() -> None:
    truth = np.random.default_rng(0).normal(size=(8, 3))
    assert centre_error(truth * [1, 1, -1], truth) > 0.05


def test_the_error_is_relative_to_the_extent() -> None:
    truth = np.array([[x, y, 0.0] for x in range(11) for y in range(11)])
    estimate = truth.copy()
    estimate[0, 2] = 0.1  # one of 121: the alignment hardly follows
    assert centre_error(estimate, truth) == pytest.approx(0.1 / np.hypot(10, 10), rel=0.1)


def test_points_on_a_line_are_aligned() -> None:
    truth = np.arange(4.0)[:, None] * [1.0, 2.0, 3.0]
    assert centre_error(moved(truth, 2.0, 1), truth) < 1e-12


@pytest.mark.parametrize(
    ("points", "targets"),
    [(np.zeros((5, 3)), np.eye(3)[[0, 1, 2, 0, 1]]), (np.eye(3)[:2], np.eye(3)[:2]), (np.eye(3), np.zeros((4, 3)))],
)
def test_what_cannot_be_aligned_is_refused(points: np.ndarray, targets: np.ndarray) -> None:
    with pytest.raises(ValueError):
        align(points, targets)
