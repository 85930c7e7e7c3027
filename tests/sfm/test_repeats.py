"""The judge of pairs, on graphs of triplets with known answers."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.sfm.repeats.judging import judge, triplets
from astr_cli.sfm.repeats.pairs import VerifiedPair

PHOTOS = 8


def graph(seed: int, wrong: set[tuple[int, int]], noise: float = 0.003) -> list[VerifiedPair]:
    """Photos that step along a wall, all paired; the matches of `wrong` pairs are shifted copies."""
    draw = np.random.default_rng(seed)
    pairs = []
    for a, b in itertools.combinations(range(PHOTOS), 2):
        start = draw.uniform(0, 1, (3000, 2))
        shift = -0.05 * (b - a) + (0.3 if (a, b) in wrong else 0)
        end = start + [shift, 0] + draw.normal(0, noise, start.shape)
        seen = ((end >= 0) & (end <= 1)).all(1)
        pairs.append(VerifiedPair(a + 1, b + 1, start[seen], end[seen]))
    return pairs


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_right_graph_with_noise_stays_whole(seed: int) -> None:
    pairs = graph(seed, set())
    found = list(triplets(pairs))
    assert len(found) > 40
    assert judge(pairs, found, np.random.default_rng(seed).uniform(0, 0.05, len(pairs))) == []


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_injected_pairs_are_found_and_no_others(seed: int) -> None:
    ends = list(itertools.combinations(range(PHOTOS), 2))
    wrong = {ends[k] for k in np.random.default_rng(seed).choice(len(ends), 3, replace=False)}
    pairs = graph(seed, wrong)
    doubts = np.array([0.02 if pair in wrong else 0.001 for pair in ends])
    found = judge(pairs, list(triplets(pairs)), doubts)
    assert {(pair.image0 - 1, pair.image1 - 1) for pair in found} == wrong
