"""Stars, merging, and the match lists that come of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage, MatchRows
from astr_cli.sfm.tracks.pair_matches import pair_matches

SIZE, WORKING = (1280, 640), (640, 320)  # a factor of 2


def make_rows(images: int, matches: list[tuple[int, int, tuple[float, float], tuple[float, float], int, float]]) -> Any:
    """Rows from (image0, image1, point0, point1, reference, score), points in WORKING pixels."""
    pairs = sorted({match[:2] for match in matches})
    matches = sorted(matches, key=lambda match: match[:2])
    points = np.array([[match[2], match[3]] for match in matches], np.float64).reshape(-1, 2, 2)
    original = ((points + 0.5) * 2 - 0.5).astype(np.float32)
    return MatchRows(
        images=tuple(MatchedImage(f"{number}.jpg", SIZE, WORKING) for number in range(images)),
        pairs=np.array(pairs, np.int32),
        pair=np.array([pairs.index(match[:2]) for match in matches], np.int32),
        keypoints0=original[:, 0],
        keypoints1=original[:, 1],
        scores=np.array([match[5] for match in matches], np.float32),
        reference=np.array([match[4] for match in matches], np.uint8),
    )


def members(tracks: Any) -> set[frozenset[tuple[int, float, float]]]:
    """Every track as a set of (image, x, y) in matched pixels, rounded to 0.001."""
    working = (tracks.keypoints.astype(np.float64) + 0.5) / 2 - 0.5
    result = []
    for track in range(len(tracks.lengths)):
        rows = np.flatnonzero(tracks.track == track)
        result.append(frozenset((int(tracks.image[r]), *(float(v) for v in working[r].round(3))) for r in rows))
    return set(result)


def test_a_star_is_one_track_with_its_exact_centre() -> None:
    centre = (35.5, 43.5)
    tracks = build_tracks(
        make_rows(
            4,
            [
                (0, 1, centre, (50.1, 60.2), 0, 0.9),
                (0, 2, centre, (70.3, 80.4), 0, 0.8),
                (0, 3, centre, (90.5, 20.6), 0, 0.7),
            ],
        )
    )
    assert members(tracks) == {frozenset([(0, *centre), (1, 50.1, 60.2), (2, 70.3, 80.4), (3, 90.5, 20.6)])}
    assert (tracks.of_image(0) == [[71.5, 87.5]]).all()


def test_the_centre_may_be_in_the_second_image() -> None:
    matches = [(0, 2, (50.1, 60.2), (35.5, 43.5), 1, 0.9), (1, 2, (70.3, 80.4), (35.5, 43.5), 1, 0.8)]
    assert members(build_tracks(make_rows(3, matches))) == {
        frozenset([(0, 50.1, 60.2), (1, 70.3, 80.4), (2, 35.5, 43.5)])
    }


def test_neighbouring_cells_stay_apart() -> None:
    matches = [(0, 1, (35.5, 43.5), (50.0, 60.0), 0, 0.9), (0, 1, (43.5, 43.5), (58.0, 60.0), 0, 0.9)]
    assert len(members(build_tracks(make_rows(2, matches)))) == 2


def chain(step: float, length: int) -> Any:
    """Stars about (100, 100): star n is centred in image n, seen in n + 1, where star n + 1 stands `step` further."""
    at = 35.5
    matches = [(n, n + 1, (at, at), (at - step, at), 0, 0.9) for n in range(length)]
    return make_rows(length + 1, matches)


def test_overlapping_stars_become_one_track() -> None:
    tracks = build_tracks(chain(0.5, 2), radius=1.0)
    assert members(tracks) == {frozenset([(0, 35.5, 35.5), (1, 35.25, 35.5), (2, 35.0, 35.5)])}
    assert len(members(build_tracks(chain(0.5, 2), radius=0.4))) == 2
    assert len(members(build_tracks(chain(0.5, 2), radius=0))) == 2


def test_the_radius_is_of_working_pixels() -> None:
    # 0.9 px at matched size are 1.8 px of the photo.
    assert len(members(build_tracks(chain(0.9, 2), radius=1.0))) == 1
    assert len(members(build_tracks(chain(1.1, 2), radius=1.0))) == 2


def test_stars_that_disagree_in_one_image_are_not_joined() -> None:
    matches = [
        (0, 2, (35.5, 35.5), (60.0, 60.0), 0, 0.9),
        (1, 2, (43.5, 43.5), (60.2, 60.0), 0, 0.9),
        (0, 1, (35.5, 35.5), (90.0, 90.0), 0, 0.9),  # but star 1 is at (43.5, 43.5) there
    ]
    assert len(members(build_tracks(make_rows(3, matches), radius=1.0))) == 2


def test_merging_does_not_drift() -> None:
    """Many stars in a row in one image, each within the radius of the next, do not all become one."""
    step, count = 0.8, 20
    matches = [(n, 20, (35.5, 35.5), (100 + n * step, 50.0), 0, 0.9) for n in range(count)]
    tracks = build_tracks(make_rows(21, matches), radius=1.0)
    in_last = tracks.track[tracks.image == 20]
    assert len(np.unique(in_last)) >= count // 2
    assert tracks.lengths.max() <= 3


def test_agreement_in_more_images_goes_first() -> None:
    matches = [
        (0, 1, (35.5, 35.5), (60.0, 60.0), 0, 0.9),
        (0, 2, (35.5, 35.5), (70.0, 70.0), 0, 0.9),
        # Meets the first in two images, if not closest; of the third it says something else.
        (1, 2, (60.0 - 0.5, 60.0), (70.4, 70.0), 0, 0.9),
        (1, 3, (60.0 - 0.5, 60.0), (80.0, 80.0), 0, 0.9),
        # Meets the first in one image, closer.
        (3, 4, (90.0, 90.0), (20.0, 20.0), 0, 0.9),
        (2, 3, (70.1, 70.0), (90.0, 90.0), 1, 0.9),
    ]
    longest = max(members(build_tracks(make_rows(5, matches), radius=1.0)), key=len)
    assert (3, 80.0, 80.0) in longest
    assert not any(image == 4 for image, _, _ in longest)


def random_rows(seed: int) -> Any:
    """Rows of crowded cells, so that most stars meet others, with wrong ones among them."""
    random = np.random.default_rng(seed)
    images = int(random.integers(3, 7))
    matches = []
    for a in range(images):
        for b in range(a + 1, images):
            for cell in random.permutation(12)[:8]:
                centre = (8.0 * cell + 3.5, 19.5)
                other = tuple(np.array(centre) + random.normal(0, 1.0, 2))
                side = int(random.integers(2))
                points = (centre, other) if side == 0 else (other, centre)
                matches.append((a, b, *points, side, float(random.random())))
    return make_rows(images, matches)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_whatever_comes_in_a_track_has_one_keypoint_per_image(seed: int, radius: float) -> None:
    rows = random_rows(seed)
    tracks = build_tracks(rows, radius)
    assert len(np.unique(tracks.track * 100 + tracks.image)) == len(tracks.track)
    assert (np.unique(tracks.track) == np.arange(len(tracks.lengths))).all()
    assert (tracks.lengths >= 2).all()
    assert (np.diff(tracks.image) >= 0).all()
    # Both ends of every match are in its track, within the radius of where they were measured.
    for end, points in ((0, rows.keypoints0), (1, rows.keypoints1)):
        image = rows.pairs[rows.pair, end]
        place = [
            int(np.flatnonzero((tracks.track == track) & (tracks.image == number))[0])
            for track, number in zip(tracks.of_row, image, strict=True)
        ]
        assert (np.linalg.norm(tracks.keypoints[place] - points, axis=1) <= 2 * radius + 1e-3).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_match_lists_equal_a_plain_loop(seed: int) -> None:
    rows = random_rows(seed)
    tracks = build_tracks(rows, 1.0)
    index = {}
    for image in range(len(rows.images)):
        for number in range(int(tracks.offsets[image]), int(tracks.offsets[image + 1])):
            index[int(tracks.track[number]), image] = number - int(tracks.offsets[image])
    expected: list[set[tuple[int, int]]] = [set() for _ in rows.pairs]
    for pair, track in zip(rows.pair, tracks.of_row, strict=True):
        a, b = (int(image) for image in rows.pairs[pair])
        expected[pair].add((index[int(track), a], index[int(track), b]))
    found = pair_matches(tracks, rows)
    assert [{tuple(row) for row in matches.tolist()} for matches in found] == expected
    assert all(
        matches.dtype == np.uint32 and matches.shape == (len(e), 2) for matches, e in zip(found, expected, strict=True)
    )


def test_pairs_without_matches_get_empty_lists() -> None:
    rows = make_rows(3, [(0, 1, (35.5, 35.5), (50.0, 60.0), 0, 0.9)])
    rows = MatchRows(
        rows.images, np.array([(2, 0), (0, 1), (1, 2)], np.int32), rows.pair + 1, *list(vars(rows).values())[3:]
    )
    found = pair_matches(build_tracks(rows), rows)
    assert [len(matches) for matches in found] == [0, 1, 0]


def test_equal_input_gives_equal_tracks_whatever_the_order_of_pairs(scene: Any) -> None:
    rows = scene.rows()
    again = build_tracks(rows)
    first = build_tracks(rows)
    assert (first.keypoints == again.keypoints).all()
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = MatchRows(
        rows.images, rows.pairs, *(getattr(rows, name)[order] for name in list(rows.__dataclass_fields__)[2:])
    )
    assert (build_tracks(shuffled).keypoints == first.keypoints).all()


def test_simulated_tracks_are_long_and_true(scene: Any) -> None:
    rows = scene.rows()
    assert len(rows) >= 200
    tracks = build_tracks(rows)
    stars = build_tracks(rows, 0.0)
    assert tracks.lengths.mean() > stars.lengths.mean() > 3
    assert np.median(tracks.lengths) >= 3
    errors = reprojection_errors(tracks, scene.cameras)
    assert np.median(errors) < 0.7  # leaves have a noise of 0.3 working = 0.48 original pixels, per axis


def reprojection_errors(tracks: Any, cameras: Any) -> np.ndarray:
    """(T,) root mean square distance of a track's keypoints to its point, triangulated with the true cameras."""
    projections = np.stack([camera.K @ np.column_stack([camera.R, camera.t]) for camera in cameras])[tracks.image]
    x = tracks.keypoints.astype(np.float64)
    lines = np.stack([x[:, i, None] * projections[:, 2] - projections[:, i] for i in (0, 1)], 1)
    lines /= np.linalg.norm(lines[..., :3], axis=2, keepdims=True)
    normal = np.zeros((len(tracks.lengths), 4, 4))
    np.add.at(normal, tracks.track, np.einsum("oki,okj->oij", lines, lines))
    points = np.linalg.eigh(normal)[1][:, :, 0]
    seen = np.einsum("oij,oj->oi", projections, points[tracks.track])
    squared = ((seen[:, :2] / seen[:, 2:] - x) ** 2).sum(1)
    return np.sqrt(np.bincount(tracks.track, squared) / tracks.lengths)


@pytest.mark.parametrize("radius", [0.0, 1.0])
def test_no_matches_give_no_tracks(radius: float) -> None:
    empty = np.zeros((0, 2), np.float32)
    rows = MatchRows(
        (MatchedImage("a", SIZE, WORKING), MatchedImage("b", SIZE, WORKING)),
        np.array([(0, 1)], np.int32),
        np.zeros(0, np.int32),
        empty,
        empty,
        np.zeros(0, np.float32),
        np.zeros(0, np.uint8),
    )
    tracks = build_tracks(rows, radius)
    assert len(tracks.lengths) == 0
    assert [len(matches) for matches in pair_matches(tracks, rows)] == [0]
