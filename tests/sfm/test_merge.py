"""Joining stars many at once, in pieces and out of a file gives what a plain loop gives."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.sfm.tracks import merge, observations
from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.sfm.tracks.merge import merge_stars
from astr_cli.sfm.tracks.observations import Gatherer, Observations, sort_by_image
from astr_cli.store.matches_file import MatchesFile

Star = dict[int, tuple[np.ndarray, float]]  # image -> position, score


def random_stars(seed: int, count: int = 40, images: int = 6) -> list[Star]:
    """Few places and much noise: stars meet, chain and contradict each other."""
    random = np.random.default_rng(seed)
    places = random.uniform(0, 12, (images, 8, 2))
    stars: list[Star] = []
    for _ in range(count):
        place = random.integers(8)
        seen = np.flatnonzero(random.random(images) < 0.5)
        seen = seen if len(seen) >= 2 else np.array([0, 1])
        noise = random.normal(0, 0.5, (images, 2)).astype(np.float32)
        stars.append({int(i): (places[i, place].astype(np.float32) + noise[i], float(random.random())) for i in seen})
    return stars


def observed(stars: list[Star]) -> Observations:
    rows = [(g, i, *stars[g][i]) for g in range(len(stars)) for i in sorted(stars[g])]
    group, image, position, score = zip(*rows, strict=True)
    return Observations(
        np.array(group, np.int32), np.array(image, np.int32), np.array(position), np.array(score, np.float32)
    )


def plain_merge(stars: list[Star], radius: float) -> list[set[int]]:
    """One candidate after another, best first: joined unless the members would lie too far apart in some image."""
    candidates = []
    for a in range(len(stars)):
        for b in range(a + 1, len(stars)):
            gaps = [
                np.linalg.norm(stars[a][i][0].astype(float) - stars[b][i][0]) for i in stars[a].keys() & stars[b].keys()
            ]
            near = np.array([gap for gap in gaps if gap <= radius], np.float32)
            if len(near):
                candidates.append((-len(near), near.sum() / np.int32(len(near)), a, b))
    groups = {number: {number} for number in range(len(stars))}
    owner = list(range(len(stars)))
    for *_, a, b in sorted(candidates):
        first, second = owner[a], owner[b]
        if first == second:
            continue
        members = groups[first] | groups[second]
        if all(extent(stars, members, image) <= radius for image in {i for g in members for i in stars[g]}):
            groups[first] = members
            for star in groups.pop(second):
                owner[star] = first
    return list(groups.values())


def extent(stars: list[Star], members: set[int], image: int) -> float:
    """Diagonal of the box around what the members say of an image."""
    points = np.array([stars[g][image][0] for g in members if image in stars[g]], np.float64)
    return float(np.linalg.norm(np.ptp(points, axis=0)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([0.5, 1.0, 2.0]))
def test_it_equals_a_plain_loop(seed: int, radius: float) -> None:
    stars = random_stars(seed)
    rows = observed(stars)
    kept, of_star = merge_stars(rows, radius)
    expected = plain_merge(stars, radius)
    found = [set(np.flatnonzero(of_star == group).tolist()) for group in range(of_star.max() + 1)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
    assert len(expected) < len(stars)
    seen: dict[tuple[int, int], tuple[np.ndarray, float]] = {}
    for group, image, position, score in zip(*(column[kept] for column in rows), strict=True):
        assert seen.setdefault((int(group), int(image)), (position, float(score)))[0] is position, "one an image"
    for group, members in enumerate(found):
        for image in {i for g in members for i in stars[g]}:
            of_image = [stars[g][image] for g in members if image in stars[g]]
            position, score = seen.pop((group, image))
            assert np.allclose(position, np.mean([point for point, _ in of_image], axis=0), atol=1e-5)
            assert score == pytest.approx(max(value for _, value in of_image))
    assert not seen


def test_pieces_do_not_change_it(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_tracks(scene.rows())
    monkeypatch.setattr(merge, "BATCH", 300)
    monkeypatch.setattr(merge, "MEETINGS", 100)
    monkeypatch.setattr(observations, "PIECE", 77)
    monkeypatch.setattr(observations, "ROOM", 1000)
    parts = build_tracks(scene.rows())
    assert len(whole.lengths) == len(parts.lengths) > 1000
    for name in ("image", "keypoints", "scores", "offsets", "borders"):
        assert (getattr(whole, name) == getattr(parts, name)).all()
    assert (whole.track == parts.track).all() and (whole.of_row == parts.of_row).all()


@pytest.mark.parametrize("room", [0, 700, 2_000_000])
def test_a_file_gives_what_memory_gives(room: int, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astr_cli.sfm.tracks.match_rows.WAITING", room)
    monkeypatch.setattr("astr_cli.sfm.tracks.match_rows.REOPEN", 4)
    memory = build_tracks(scene.rows())
    with MatchesFile(scene.write(tmp_path / "m.h5")) as file, closing(StoredRows(file)) as rows:
        stored = build_tracks(rows)
    assert len(memory.image) == len(stored.image) >= 200
    for name in ("image", "track", "keypoints", "scores", "offsets", "of_row", "borders"):
        assert (getattr(memory, name) == getattr(stored, name)).all(), name


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 6))
def test_the_order_by_image_is_stable(values: list[int], images: int) -> None:
    image = np.array(values, np.int32)
    order, borders = sort_by_image(image, images)
    inside = np.flatnonzero(image < images)
    assert (order == inside[np.argsort(image[inside], kind="stable")]).all()
    assert (np.diff(borders) == np.bincount(image[inside], minlength=images)).all()


def test_what_is_gathered_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observations, "ROOM", 7)
    gatherer = Gatherer((np.int32, ()), (np.float32, (2,)))
    parts = [np.arange(count, dtype=np.int32) for count in (0, 3, 20, 1, 7)]
    for part in parts:
        gatherer.add(part, np.stack([part, part + 1], 1).astype(np.float32))
    numbers, points = gatherer.take()
    assert (numbers == np.concatenate(parts)).all() and (points[:, 0] == numbers).all()
    assert [len(column) for column in gatherer.take()] == [0, 0]
