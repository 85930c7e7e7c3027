"""The schedule: each photo at a time, resumable, the same bits; plans and rules."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.refine.observations import Observations, common_tracks, grouped
from astr_cli.refine.planning import choose_references, plan_from_neighbours
from astr_cli.refine.pyramid import Pyramid, build_pyramid, from_level, to_level
from astr_cli.refine.rules import kept_by, summary
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.solving import choose_levels
from astr_cli.refine.tracks import Refined, Step, refine_tracks

from .courts import Court, court, look, observe, outcome, textures, wall

SIZE = (480, 360)


@pytest.fixture(scope="module")
def scene() -> Court:
    cameras = [look((x, 0.1 * x * x, 0.3 * x), (0.1, 0, 6), SIZE) for x in (-1.5, -0.5, 0.4, 1.4)]
    return court([wall()], cameras, 3, skins=textures(4, 3)[3][None])


class Stop(Exception):
    """The machine is switched off."""


class Shelf(MutableMapping[Step, tuple[np.ndarray, ...]]):
    """Arrays on disk, as a program would keep them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, step: Step) -> Path:
        return self.folder / f"{step.kind}{step.photo}.npz"

    def __getitem__(self, step: Step) -> tuple[np.ndarray, ...]:
        try:
            with np.load(self._path(step)) as stored:
                return tuple(stored[name] for name in stored.files)
        except FileNotFoundError:
            raise KeyError(step) from None

    def __setitem__(self, step: Step, arrays: tuple[np.ndarray, ...]) -> None:
        np.savez(self._path(step), *arrays)

    def __delitem__(self, step: Step) -> None:
        self._path(step).unlink()

    def __iter__(self) -> Iterator[Step]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(list(self.folder.iterdir()))


def run(scene: Court, seen: Observations, **more: Any) -> tuple[Refined, list[int]]:
    """A refinement, and the photos that it loaded, in order; `more` may hold `stop`, how many it may load."""
    loaded: list[int] = []
    stop = more.pop("stop", 99)

    def load(photo: int) -> Pyramid:
        if len(loaded) == stop:
            raise Stop
        loaded.append(photo)
        return build_pyramid(scene.photos[photo])

    plan = plan_from_neighbours(seen, Settings().half)
    return refine_tracks(seen, plan, load, Settings(), **more), loaded


def assert_same(one: Refined, other: Refined) -> None:
    for column, twin in zip(one, other, strict=True):
        assert np.array_equal(column, twin, equal_nan=True)


def test_a_resumed_run_repeats_at_most_one_photo_and_gives_the_same_bits(scene: Court, tmp_path: Path) -> None:
    seen, _ = observe(scene, 2.4, 400)
    whole, loaded = run(scene, seen, threads=2)
    assert loaded == [0, 1, 2, 3, 0, 1, 2, 3]
    shelf, again = Shelf(tmp_path), []
    for stop in (3, 2, 1):
        done = len(shelf)
        with pytest.raises(Stop):
            run(scene, seen, kept=shelf, stop=stop)
        assert len(shelf) - done == stop
    resumed, again = run(scene, seen, kept=shelf)
    assert len(again) == 2
    assert_same(whole, resumed)
    repeated, again = run(scene, seen, kept=shelf)
    assert again == []
    assert_same(whole, repeated)


def test_one_photo_in_memory_at_a_time(scene: Court) -> None:
    seen, _ = observe(scene, 2.4, 200)
    alive: list[weakref.ref[Any]] = []

    def load(photo: int) -> Pyramid:
        gc.collect()
        assert not any(ref() is not None for ref in alive)
        pyramid = build_pyramid(scene.photos[photo])
        alive.extend(weakref.ref(level) for level in pyramid.levels)
        return pyramid

    refine_tracks(seen, plan_from_neighbours(seen, Settings().half), load, Settings())
    assert len(alive) == 8 * 5


def test_progress_counts_to_the_end(scene: Court) -> None:
    seen, _ = observe(scene, 2.4, 200)
    told: list[tuple[int, int]] = []
    run(scene, seen, tell=lambda done, total: told.append((done, total)))
    assert told == [(k, 8) for k in range(9)]


def test_the_order_of_observations_does_not_matter(scene: Court) -> None:
    """But for which observation is the reference where two are equally good, and those are given here."""
    seen, _ = observe(scene, 2.4, 300)
    order = np.random.default_rng(0).permutation(len(seen.photo))
    mixed = Observations(*(column[order] for column in seen[:4]), seen.sizes)
    plan = plan_from_neighbours(seen, 9)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    other = plan_from_neighbours(mixed, 9, place[plan.reference])
    np.testing.assert_allclose(other.maps, plan.maps[order], atol=1e-9)
    pyramids = [build_pyramid(photo) for photo in scene.photos]
    one = refine_tracks(seen, plan, lambda k: pyramids[k], Settings())
    two = refine_tracks(mixed, other, lambda k: pyramids[k], Settings())
    np.testing.assert_allclose(two.xy, one.xy[order], atol=1e-6)
    assert np.array_equal(two.status, one.status[order])


def test_nothing_and_single_observations(scene: Court) -> None:
    seen, _ = observe(scene, 2.4, 100)
    nothing = Observations(*(column[:0] for column in seen[:4]), seen.sizes)
    refined, loaded = run(scene, nothing)
    assert [len(column) for column in refined] == [0] * 4 and not loaded
    alone = Observations(*(column[seen.photo == 1] for column in seen[:4]), seen.sizes)
    refined, loaded = run(scene, alone)
    assert (refined.status == Status.REFERENCE).all() and not loaded
    assert np.array_equal(refined.xy, alone.xy)


def test_common_tracks_are_those_found_one_by_one(scene: Court) -> None:
    seen, _ = observe(scene, 2.4, 150)
    of_photo, of_track = grouped(seen.photo, 4), grouped(seen.track, int(seen.track.max()) + 1)
    for photo in range(4):
        found = list(common_tracks(seen, of_track, of_photo.rows(photo)))
        assert [common.other for common in found] == [other for other in range(4) if other != photo]
        for common in found:
            pairs = {
                (a, b)
                for a in np.flatnonzero(seen.photo == photo)
                for b in np.flatnonzero(seen.photo == common.other)
                if seen.track[a] == seen.track[b]
            }
            assert set(zip(common.mine.tolist(), common.theirs.tolist(), strict=True)) == pairs


def test_the_reference_deforms_least_and_lies_inside(scene: Court) -> None:
    """Of photos in a row, the middle ones."""
    seen, _ = observe(scene, 2.4, 800, error=0.05)
    plan = plan_from_neighbours(seen, 9)
    full = np.bincount(seen.track) == 4
    photo = seen.photo[plan.reference[full]]
    assert np.isin(photo, (1, 2)).mean() > 0.65
    cost = np.array([0.0, 1.0, 2.0])
    three = Observations(
        np.arange(3, dtype=np.int32), np.zeros(3, np.int32), np.array([[5.0, 50], [50, 50], [60, 60]]), np.ones(3),
        np.full((3, 2), 100, np.int32),
    )  # fmt: skip
    assert choose_references(three, cost, grouped(three.track, 1), 9).tolist() == [1]
    assert choose_references(three, cost, grouped(three.track, 1), 3).tolist() == [0]


def test_levels() -> None:
    """The larger image is sampled at a coarser level; coarse levels come first where the start may be far off."""
    maps = np.array([1.0, 2.0, 0.5, 4.0, 1.0, 1.0, 1.0, 2.0])[:, None, None] * np.eye(2)
    levels = choose_levels(maps, np.array([1.0, 2, 1, 4, 2.4, 6, 2.0, 8.0]), Settings())
    assert levels.image.tolist() == [0, 1, 0, 2, 0, 0, 0, 1]
    assert levels.template.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert levels.steps.tolist() == [1, 1, 1, 1, 2, 3, 1, 2]


def test_levels_of_a_pyramid_know_their_place() -> None:
    x, y = np.meshgrid(np.arange(50.0), np.arange(37.0))
    pyramid = build_pyramid((2 * x + 3 * y).astype(np.float32), (x != 20) | (y != 10))
    for number, level in enumerate(pyramid.levels):
        at = from_level(np.array([[1.0, 1.0]]), number)
        assert level[1, 1] == pytest.approx(2 * at[0, 0] + 3 * at[0, 1]) or not np.isfinite(level[1, 1])
        np.testing.assert_allclose(to_level(at, number), [[1.0, 1.0]])
        assert np.isnan(level).sum() == 1
    assert len(pyramid.levels) == 5


def refined(*status: Status) -> Refined:
    count = len(status)
    return Refined(
        np.zeros((count, 2)), np.array(status, np.uint8), np.full(count, 0.1, np.float32), np.ones(count, np.float32)
    )


def test_rules() -> None:
    """Track 0 has three good observations, track 1 two, track 2 its reference alone."""
    track = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2], np.int32)
    seen = Observations(np.zeros(9, np.int32), track, np.zeros((9, 2)), np.ones(9), np.ones((1, 2), np.int32))
    good, bad, base = Status.REFINED, Status.FLAT, Status.REFERENCE
    found = refined(base, good, good, bad, good, base, Status.MOVED, base, Status.OUTSIDE)
    assert np.flatnonzero(~kept_by("mixed", seen, found)).tolist() == [3]
    assert kept_by("keep", seen, found).all()
    assert np.flatnonzero(~kept_by("drop", seen, found)).tolist() == [3, 6, 7, 8]
    told = summary(found, kept_by("mixed", seen, found))
    assert told[:4] == (3, 3, 2, 1)
    assert told.shift == pytest.approx(1) and told.sigma == pytest.approx(0.1)
    assert np.isnan(summary(refined(base, bad), np.ones(2, bool)).shift)


def test_settings_reach_the_solver(scene: Court) -> None:
    seen, _ = observe(scene, 2.4, 200)
    strict = outcome(scene, seen, replace(Settings(), max_sigma=0.06, max_sigma_matched=0.0))
    wide = outcome(scene, seen)
    assert 0.05 < strict.accepted.mean() < wide.accepted.mean() - 0.1
    assert np.nanmax(strict.refined.sigma) <= 0.06 < np.nanmax(wide.refined.sigma)
