"""Pairs that repeated structure misled, on walls with known answers."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.cli.reconstruct_output import pair_warnings
from astr_cli.sfm.database.pair_ids import pair_id
from astr_cli.sfm.mapping.pair_agreement import PairFigures
from astr_cli.sfm.repeats.differences import difference_shares
from astr_cli.sfm.repeats.finding import Repeat, check_repeats
from astr_cli.sfm.repeats.holes import hole_shares
from astr_cli.sfm.repeats.judging import judge
from astr_cli.sfm.repeats.pairs import VerifiedPair
from astr_cli.sfm.repeats.places import TrustedPairs

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
    assert judge(pairs, np.random.default_rng(seed).uniform(0, 0.05, len(pairs))) == []


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_injected_pairs_are_found_and_no_others(seed: int) -> None:
    ends = list(itertools.combinations(range(PHOTOS), 2))
    wrong = {ends[k] for k in np.random.default_rng(seed).choice(len(ends), 3, replace=False)}
    doubts = np.array([0.02 if pair in wrong else 0.001 for pair in ends])
    found = judge(graph(seed, wrong), doubts)
    assert {(pair.image0 - 1, pair.image1 - 1) for pair in found} == wrong


def test_points_are_followed_over_several_pairs() -> None:
    steps = [pair for pair in graph(1, set()) if pair.image1 == pair.image0 + 1]
    places = TrustedPairs(steps).places(1, np.array([[0.5, 0.5], [0.1, 0.5]]))
    assert np.abs(places[4] - [[0.35, 0.5], [-0.05, 0.5]])[0].max() < 0.02
    assert np.isnan(places[4][1]).all()  # left the photos on the way


def wall(details: list[int]) -> tuple[list[VerifiedPair], dict[int, np.ndarray]]:
    """Photos of one wall with a detail of each photo's number; all pairs match everywhere but for other details."""
    draw = np.random.default_rng(0)
    texture = draw.uniform(0, 255, (240, 320)).astype(np.float32)
    patches = draw.uniform(0, 255, (max(details) + 1, 64, 64)).astype(np.float32)
    photos = {}
    for image, detail in enumerate(details):
        photos[image] = texture.copy()
        photos[image][80:144, 120:184] = patches[detail]
    points = np.stack(np.meshgrid(np.arange(4, 320, 8), np.arange(4, 240, 8)), -1).reshape(-1, 2) / 320 + 0.5 / 320
    return [VerifiedPair(a, b, points, points) for a, b in itertools.combinations(range(len(details)), 2)], photos


def test_other_details_in_one_place_are_differences_though_matched() -> None:
    pairs, photos = wall([0, 0, 0, 1, 1, 1])
    doubts = difference_shares(pairs, photos, lambda: None)
    same = np.array([(pair.image0 < 3) == (pair.image1 < 3) for pair in pairs])
    assert doubts[~same].min() > 10 * doubts[same].max()
    assert np.ptp(hole_shares(pairs)) == 0  # the matches alone do not tell


def database(path: Path, pairs: list[VerifiedPair]) -> None:
    """What the check reads of a COLMAP database; photos are 1000 pixels wide."""
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE cameras (camera_id, width, height); CREATE TABLE images (image_id, name, camera_id);"
            "CREATE TABLE keypoints (image_id, rows, cols, data);"
            "CREATE TABLE two_view_geometries (pair_id, rows, cols, data, config);"
            "INSERT INTO cameras VALUES (1, 1000, 1000);"
        )
        rows: dict[int, list[np.ndarray]] = {}
        for pair in pairs:
            ids = []
            for image, points in ((pair.image0, pair.points0), (pair.image1, pair.points1)):
                before = sum(map(len, rows.setdefault(image, [])))
                rows[image].append(1000 * points)
                ids.append(np.arange(before, before + len(points)))
            data = np.stack(ids, 1).astype("<u4").tobytes()
            record = (pair_id(pair.image0, pair.image1), len(pair.points0), 2, data, 2)
            connection.execute("INSERT INTO two_view_geometries VALUES (?, ?, ?, ?, ?)", record)
        for image, parts in rows.items():
            points = np.concatenate(parts).astype("<f4")
            connection.execute("INSERT INTO images VALUES (?, ?, 1)", (image, f"{image}.jpg"))
            connection.execute("INSERT INTO keypoints VALUES (?, ?, 2, ?)", (image, len(points), points.tobytes()))


def test_wrong_pairs_are_named_and_dropped_from_the_database(tmp_path: Path) -> None:
    pairs = graph(3, {(0, 1)})
    database(tmp_path / "told.db", pairs)
    told: list[str] = []
    found = check_repeats(tmp_path / "told.db", tmp_path, False, told.append, lambda: None)
    assert [(pair.name0, pair.name1, pair.left_out) for pair in found] == [("1.jpg", "2.jpg", False)]
    assert "1.jpg - 2.jpg" in told[1]
    assert found[0].reason in told[1]
    check_repeats(tmp_path / "told.db", tmp_path, True, told.append, lambda: None)
    with sqlite3.connect(tmp_path / "told.db") as connection:
        left = {pair for (pair,) in connection.execute("SELECT pair_id FROM two_view_geometries")}
    assert len(left) == len(pairs) - 1
    assert pair_id(1, 2) not in left


def chain(agreeing: float) -> list[PairFigures]:
    """Photos a to e, each paired with the next."""
    return [PairFigures(a, b, 100, 90, agreeing) for a, b in itertools.pairwise("abcde")]


def test_wrong_pairs_beside_a_right_model_are_told_without_alarm() -> None:
    figures = [*chain(0.98), PairFigures("a", "d", 100, 90, 0.1), PairFigures("b", "e", 100, 90, 0.2)]
    for repeats in ((), (Repeat("a", "d", False, "why"), Repeat("b", "e", False, "why"))):
        (line,) = pair_warnings(figures, repeats)
        assert "2 pairs match well" in line
        assert "does not follow them" in line
        assert "folded" not in line


def test_a_model_that_follows_the_wrong_pairs_may_be_folded() -> None:
    repeats = (Repeat("a", "d", False, "why"), Repeat("b", "e", False, "why"))
    broken = [*chain(0.98)[:2], *chain(0.1)[2:]]
    followed = [PairFigures("a", "d", 100, 90, 0.9), PairFigures("b", "e", 100, 90, 0.9)]
    first, _ = pair_warnings([*broken, *followed], repeats)
    assert "may be folded" in first
    assert "--repeats drop" in first
    (line,) = pair_warnings([*broken, *followed], None)
    assert "--repeats tell finds out" in line


def test_misled_pairs_that_are_right_in_part_are_no_alarm() -> None:
    repeats = (Repeat("a", "d", True, "why"), Repeat("b", "e", True, "why"))
    mixed = [PairFigures("a", "d", 100, 90, 0.7), PairFigures("b", "e", 100, 90, 0.9)]
    assert list(pair_warnings([*chain(0.98), *mixed], repeats)) == []
