"""Pairs that repeated structure misled, on walls with known answers."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.cli.reconstruct_output import pair_warnings
from astr_cli.sfm.database.pair_ids import pair_id
from astr_cli.sfm.mapping.pair_agreement import PairFigures
from astr_cli.sfm.repeats.differences import difference_doubts
from astr_cli.sfm.repeats.doubts import Doubts
from astr_cli.sfm.repeats.finding import Repeat, check_repeats
from astr_cli.sfm.repeats.holes import hole_doubts
from astr_cli.sfm.repeats.judging import MisledPair, judge, suspects
from astr_cli.sfm.repeats.pairs import VerifiedPair
from astr_cli.sfm.repeats.parts import Part, coherent_parts
from astr_cli.sfm.repeats.places import TrustedPairs

PHOTOS = 8
SHIFT = 0.3
GRID_OF_MATCHES = np.stack(np.meshgrid(np.arange(0.01, 1, 0.02), np.arange(0.01, 0.5, 0.02)), -1).reshape(-1, 2)


def graph(seed: int, wrong: Mapping[tuple[int, int], float], noise: float = 0.003) -> list[VerifiedPair]:
    """Photos that step along a wall, all paired; that share of the matches of `wrong` pairs are shifted copies."""
    draw = np.random.default_rng(seed)
    pairs = []
    for a, b in itertools.combinations(range(PHOTOS), 2):
        start = GRID_OF_MATCHES + draw.uniform(-0.005, 0.005, GRID_OF_MATCHES.shape)
        end = start + [-0.05 * (b - a), 0] + draw.normal(0, noise, start.shape)
        end[start[:, 1] < 0.5 * wrong.get((a, b), 0), 0] += SHIFT
        seen = ((end >= 0) & (end <= 1)).all(1)
        pairs.append(VerifiedPair(a + 1, b + 1, start[seen], end[seen]))
    return pairs


def judged(pairs: list[VerifiedPair], shares: np.ndarray) -> list[MisledPair]:
    """What is misled, if those shares of the pairs differ, in 1000 cells of each part."""
    parts = coherent_parts(pairs)
    cells = 1000 * shares[[part.pair for part in parts]]
    return judge(pairs, parts, Doubts(cells, np.full(len(parts), 1000.0)))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_right_graph_with_noise_stays_whole(seed: int) -> None:
    pairs = graph(seed, {})
    misled = judged(pairs, np.random.default_rng(seed).uniform(0, 0.05, len(pairs)))
    assert sum(pair.elsewhere for pair in misled) == 0


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_injected_pairs_are_found_and_no_others(seed: int) -> None:
    ends = list(itertools.combinations(range(PHOTOS), 2))
    wrong = {ends[k] for k in np.random.default_rng(seed).choice(len(ends), 3, replace=False)}
    doubts = np.array([0.02 if pair in wrong else 0.001 for pair in ends])
    found = judged(graph(seed, dict.fromkeys(wrong, 1)), doubts)
    assert {(pair.image0 - 1, pair.image1 - 1) for pair in found if pair.wrong} == wrong


def test_pairs_that_are_right_in_part_lose_their_wrong_matches_alone() -> None:
    """Their shifted matches agree with each other, and with the wrong pairs, which are judged after them."""
    shares = {ends: (0, 0, 0.4, 1)[min(3, ends[1] - ends[0])] for ends in itertools.combinations(range(PHOTOS), 2)}
    pairs = graph(2, shares)
    misled = {(pair.image0, pair.image1): pair for pair in judged(pairs, np.array([*shares.values()]))}
    for pair, (ends, share) in zip(pairs, shares.items(), strict=True):
        shifted = np.abs(pair.points1[:, 0] - pair.points0[:, 0] + 0.05 * (ends[1] - ends[0])) > SHIFT / 2
        found = misled.get((pair.image0, pair.image1))
        astray = np.zeros(len(shifted), bool) if found is None else ~found.kept
        assert (found is not None and found.wrong) == (share == 1), ends
        assert not (astray & ~shifted).any(), ends
        assert (astray & shifted).sum() >= 0.9 * shifted.sum(), ends


def test_parts_are_right_or_wrong_as_a_whole() -> None:
    for part in coherent_parts(graph(5, dict.fromkeys([(0, 1), (2, 6)], 0.4))):
        steps = part.shown.points1[:, 0] - part.shown.points0[:, 0]
        assert np.ptp(steps) < SHIFT / 2, (part.shown.image0, part.shown.image1)


def test_a_link_that_is_right_in_part_is_taken_before_a_pair_that_is_wrong() -> None:
    """Pairs (3, 4) and (2, 5) alone connect two halves. The whole pair (3, 4), which is right in part, differs more."""
    ends = list(itertools.combinations(range(PHOTOS), 2))
    crossing = {(3, 4): 0.4, (2, 5): 1, (2, 4): 1}
    chosen = [k for k, (a, b) in enumerate(ends) if (a < 4) == (b < 4) or (a, b) in crossing]
    pairs = [graph(6, crossing)[k] for k in chosen]
    link = [ends[k] for k in chosen].index((3, 4))
    wholes = [Part(number, np.arange(len(pair.points0)), pair) for number, pair in enumerate(pairs)]
    for parts, right in ((wholes, False), (coherent_parts(pairs), True)):
        shifted = [np.median(part.shown.points1[:, 0] - part.shown.points0[:, 0]) > 0 for part in parts]
        cells = np.array(
            [
                30 if part.pair == link and (wrong or not right) else 15 * wrong
                for part, wrong in zip(parts, shifted, strict=True)
            ]
        )
        misled = {
            (pair.image0 - 1, pair.image1 - 1): pair
            for pair in judge(pairs, parts, Doubts(cells, np.full(len(parts), 1000.0)))
        }
        assert ((2, 5) in misled and not misled[2, 5].kept.any()) == right
        assert misled[3, 4].enough == right


def test_a_wrong_link_without_differences_is_found_by_those_of_the_pairs_that_follow_it() -> None:
    """Photo 7: pair (4, 7), which is taken first, is wrong; with it, two more are taken, and (6, 7) is not."""
    ends = list(itertools.combinations(range(PHOTOS), 2))
    wrong = dict.fromkeys([(3, 7), (4, 7), (5, 7)], 1)
    chosen = [k for k, (a, b) in enumerate(ends) if b < 7 or a > 2]
    pairs = [graph(7, wrong)[k] for k in chosen]
    cells = {(4, 7): 0, (3, 7): 30, (5, 7): 30}
    shares = np.array([cells.get(ends[k], 1 + (ends[k][0] == 0)) / 1000 for k in chosen])
    found = judged(pairs, shares)
    assert {(pair.image0 - 1, pair.image1 - 1) for pair in found if pair.wrong} == wrong.keys()


def test_links_on_the_way_between_the_photos_of_a_contradicted_part_are_suspect() -> None:
    steps = [pair for pair in graph(1, {}) if pair.image1 == pair.image0 + 1]
    across = [pair for pair in graph(1, {}) if (pair.image0, pair.image1) in ((2, 5), (3, 6), (1, 8))]
    parts = [Part(number, np.arange(len(pair.points0)), pair) for number, pair in enumerate([*steps, *across])]
    doubts = Doubts(np.array([5.0] * 7 + [9.0, 1.0, 1.0]), np.full(10, 100.0))  # (1, 8) is no surer than a link
    assert suspects(parts, doubts, range(7), [7]) == []
    assert suspects(parts, doubts, range(7), [8, 9])[:1] == [2]


def test_points_are_followed_over_several_pairs() -> None:
    steps = [pair for pair in graph(1, {}) if pair.image1 == pair.image0 + 1]
    places = TrustedPairs(steps).places(1, np.array([[0.5, 0.3], [0.1, 0.3]]))
    assert np.abs(places[4] - [[0.35, 0.3], [-0.05, 0.3]])[0].max() < 0.02
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
    doubts = difference_doubts(pairs, photos, lambda: None).each
    same = np.array([(pair.image0 < 3) == (pair.image1 < 3) for pair in pairs])
    assert doubts[~same].min() > 10 * doubts[same].max()
    assert np.ptp(hole_doubts(pairs).each) == 0  # the matches alone do not tell


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
    pairs = graph(3, {(0, 1): 1, (0, 6): 0.3})
    database(tmp_path / "told.db", pairs)
    told: list[str] = []
    found = check_repeats(tmp_path / "told.db", tmp_path, False, told.append, lambda: None)
    assert [(pair.name0, pair.name1, pair.left_out) for pair in found] == [("1.jpg", "2.jpg", False)]
    assert "1.jpg - 2.jpg" in told[1]
    assert found[0].reason in told[1]
    assert "of 1 other pair" in told[2]
    query = "SELECT pair_id, rows, data FROM two_view_geometries"
    with sqlite3.connect(tmp_path / "told.db") as connection:
        before = {pair: (rows, data) for pair, rows, data in connection.execute(query)}
    check_repeats(tmp_path / "told.db", tmp_path, True, told.append, lambda: None)
    with sqlite3.connect(tmp_path / "told.db") as connection:
        stored = {pair: (rows, data) for pair, rows, data in connection.execute(query)}
    assert stored.keys() == before.keys() - {pair_id(1, 2)}
    in_part = pair_id(1, 7)
    assert {pair for pair, kept in stored.items() if kept != before[pair]} == {in_part}
    rows, data = stored[in_part]
    assert 0.58 < rows / before[in_part][0] < 0.66
    assert rows == len(data) // 8
    assert set(np.frombuffer(data, "<u8")) < set(np.frombuffer(before[in_part][1], "<u8"))


@pytest.mark.parametrize(("shifted", "matches", "named"), [(18, 30, 0), (28, 30, 1)])
def test_a_set_is_left_as_it_is_unless_a_pair_is_surely_wrong(
    shifted: int, matches: int, named: int, tmp_path: Path
) -> None:
    """Of few matches, most may be outliers by chance."""
    *pairs, last = graph(4, {(0, 6): 0.1})
    few = last.chosen(np.isin(np.arange(len(last.points0)), np.linspace(40, len(last.points0) - 40, matches).round()))
    few.points1[:shifted, 0] += SHIFT
    database(tmp_path / "few.db", [*pairs[:6], few, *pairs[6:]])
    query = "SELECT SUM(rows) FROM two_view_geometries"
    with sqlite3.connect(tmp_path / "few.db") as connection:
        ((before,),) = connection.execute(query)
        found = check_repeats(tmp_path / "few.db", tmp_path, True, lambda _: None, lambda: None)
        ((after,),) = connection.execute(query)
    assert len(found) == named
    assert (after < before) == bool(named)


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
