"""How pairs agree with a model."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.sfm.mapping.pair_agreement import PairFigures, doubtful_pairs, sampson_errors


def turned(random: np.random.Generator, angle: float) -> np.ndarray:
    axis = random.normal(size=3)
    x, y, z = angle * axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.linalg.qr(np.eye(3) + cross)[0] * np.sign(np.diag(np.linalg.qr(np.eye(3) + cross)[1]))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_true_points_have_no_error_and_others_that_of_their_shift(seed: int) -> None:
    random = np.random.default_rng(seed)
    moved = np.column_stack([turned(random, 0.3), random.normal(size=3)])
    moved[:, 3] /= np.linalg.norm(moved[:, 3])
    points = random.uniform((-2, -2, 4), (2, 2, 9), (200, 3))
    seen = points @ moved[:, :3].T + moved[:, 3]
    rays0, rays1 = points[:, :2] / points[:, 2:], seen[:, :2] / seen[:, 2:]
    assert sampson_errors(rays0, rays1, moved).max() < 1e-9
    shift = random.normal(0, 1e-3, (200, 2))
    errors = sampson_errors(rays0, rays1 + shift, moved)
    # Sampson's distance is no more than the shift, and in the mean a good part of it.
    assert (errors <= 1.05 * np.linalg.norm(shift, axis=1) + 1e-9).all()
    assert 0.2 < np.median(errors) / 1e-3 < 1.5


def test_doubtful_pairs_come_with_most_inliers_first() -> None:
    pairs = [
        PairFigures("a", "b", 100, 90, 0.95),
        PairFigures("a", "c", 100, 20, 0.1),
        PairFigures("b", "c", 100, 60, 0.3),
        PairFigures("b", "d", 100, 0, None),
    ]
    assert [pair.name0 + pair.name1 for pair in doubtful_pairs(pairs)] == ["bc", "ac"]
    assert (pairs[0].ratio, pairs[3].ratio, PairFigures("a", "b", 0, 0, None).ratio) == (0.9, 0.0, 0.0)
