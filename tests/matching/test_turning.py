"""Which turn is chosen, by counts alone; and what finding it out costs."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.matching.photos import loader
from astr_cli.matching.photos.rotation import best_quarters, count_upright
from astr_cli.matching.run.match import match_pairs


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([200, 900, 0, 0], 0),  # plenty upright: no other turn is tried
        ([20, 0, 0, 300], 3),
        ([20, 25, 0, 0], 0),  # not clearly better
        ([0, 7, 0, 0], 0),  # too few to be believed
        ([0, 0, 8, 0], 2),
        ([0, 0, 0, 0], 0),
    ],
)
def test_the_turn_that_wins_clearly(counts: list[int], expected: int) -> None:
    assert best_quarters(lambda quarters: counts[quarters], 640) == expected


@given(st.integers(0, 2**32 - 1), st.floats(0.4, 2.5), st.floats(-30, 30))
def test_matches_that_stand_alike_count_and_others_do_not(seed: int, scale: float, degrees: float) -> None:
    numbers = np.random.default_rng(seed)
    points = numbers.uniform(0, 256, (200, 2))
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    alike = points @ turn.T * scale + (30, -10)
    assert count_upright(np.stack([points, alike])) == 200
    for quarters in (1, 2, 3):
        turned = alike @ np.linalg.matrix_power([[0, -1], [1, 0]], quarters).T
        assert count_upright(np.stack([points, turned])) == 0
    assert count_upright(np.stack([points, numbers.permutation(points)])) < 60
    assert count_upright(np.stack([points[:3], alike[:3]])) == 0


def test_each_photo_is_decoded_once_in_the_decode_threads(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loader.load_image
    decoded: list[tuple[str, str]] = []

    def load(info, *rest):
        decoded.append((info.name, threading.current_thread().name.rpartition("_")[0]))
        return real(info, *rest)

    monkeypatch.setattr(loader, "load_image", load)
    summary = match_pairs(scene.options(rotate="auto"))
    assert sorted(decoded) == [(name, "astr-decode") for name in scene.names]
    assert summary.cache_misses >= summary.fewest_misses == 6
    assert summary.cache_hits + summary.cache_misses == 2 * len(scene.pairs)
