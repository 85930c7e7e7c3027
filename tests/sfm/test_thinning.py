"""Fewer keypoints: which stay, and that the rest still hangs together."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.pair_matches import pair_matches
from astr_cli.sfm.tracks.thinning import spread, thin_tracks


def test_nothing_asked_nothing_changed(scene: Any) -> None:
    tracks = build_tracks(scene.rows())
    assert thin_tracks(tracks, scene.rows().images) is tracks


def test_up_to_so_many_an_image_and_whole_tracks(scene: Any) -> None:
    rows = scene.rows()
    before, tracks = build_tracks(rows), thin_tracks(build_tracks(rows), rows.images, most=200)
    counts = np.diff(tracks.offsets)
    assert np.diff(before.offsets).min() > 300 and counts.max() <= 200 and counts.min() > 100
    assert tracks.lengths.min() >= 2
    # A tenth of the keypoints, but images keep the same tracks: these stay long.
    assert tracks.lengths.mean() > 0.9 * before.lengths.mean()
    lists, total = pair_matches(tracks, rows), 0
    for (image0, image1), matches, count in zip(rows.pairs, lists, lists.counts(), strict=True):
        total += len(matches)
        assert len(matches) == count
        ends = [tracks.track[tracks.offsets[image] + matches[:, side]] for side, image in enumerate((image0, image1))]
        assert (ends[0] == ends[1]).all()
        for side, image in enumerate((image0, image1)):
            assert len(np.unique(matches[:, side])) == count <= counts[image]
    assert total >= 200


def test_every_match_of_a_kept_track_stays_a_match(scene: Any) -> None:
    """The same keypoints, pair for pair, as in the tracks before."""
    rows = scene.rows()
    before, tracks = build_tracks(rows), thin_tracks(build_tracks(rows), rows.images, shortest=4)
    assert 200 < len(tracks.lengths) < len(before.lengths) and tracks.lengths.min() >= 4
    for (image0, image1), old, new in zip(
        rows.pairs, pair_matches(before, rows), pair_matches(tracks, rows), strict=True
    ):
        long = before.lengths[before.track[before.offsets[image0] + old[:, 0]]] >= 4
        for side, image in enumerate((image0, image1)):
            expected = before.of_image(image)[old[long, side]]
            assert {tuple(p) for p in expected} == {tuple(p) for p in tracks.of_image(image)[new[:, side]]}


def test_a_rich_corner_does_not_crowd_out_the_rest() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 60, (2000, 2))
    rest = random.uniform(0, (640, 480), (300, 2))
    points = np.concatenate([corner, rest]).astype(np.float32)
    score = np.concatenate([np.full(2000, 0.9), np.full(300, 0.3)])
    kept = spread(points, (640, 480), 200, np.full(2300, 3), score)[:200]
    assert (kept >= 2000).sum() > 100
    by_score = np.argsort(-score, kind="stable")[:200]
    assert (by_score >= 2000).sum() == 0
    assert (kept < 2000).any()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 80), st.integers(1, 90), st.integers(0, 1000))
def test_an_order_is_a_permutation_and_cells_take_turns(count: int, most: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.uniform(-0.5, 99.4, (count, 2)).astype(np.float32)
    worth = random.integers(2, 6, count)
    order = spread(points, (100, 100), most, worth)
    assert sorted(order) == list(range(count))
    if most < 8:  # one cell: by worth alone
        assert (np.diff(worth[order]) <= 0).all()
