"""Matches of a pair; and the pass that knows a model's points and cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from astr_cli.refine.observations import Observations
from astr_cli.refine.pairs import Matches, refine_pair
from astr_cli.refine.planning import plan_from_surfaces
from astr_cli.refine.pyramid import build_pyramid
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.surfaces import tangent_views

from .courts import Court, court, look, observe, outcome, textures, wall, yard

SIZE = (480, 360)
TRANSLATION = replace(Settings(), unknowns=2)


@pytest.fixture(scope="module")
def walls() -> Court:
    cameras = [look((-1.0, 0.2, 0), (0, 0, 6), SIZE), look((1.1, -0.2, 0.3), (0.1, 0, 6), (400, 440), roll=0.2)]
    return court([wall()], cameras, 3, skins=textures(4, 3)[3][None])


@pytest.fixture(scope="module")
def courtyard() -> Court:
    return yard(1)


@pytest.mark.parametrize("factor", [2.0, 5.0])
def test_the_fixed_end_stays_and_the_other_comes_to_it(walls: Court, factor: float) -> None:
    """Rows of both directions, photos of different size and turn."""
    random = np.random.default_rng(0)
    xy0 = random.uniform(0, 1, (900, 2)) * (np.array(SIZE) - 1)
    xy1 = walls.seen_from(1, walls.points(0, xy0))
    xy0, xy1 = xy0[(seen := np.isfinite(xy1[:, 0]))], xy1[seen]
    reference = (random.uniform(size=len(xy0)) < 0.5).astype(np.uint8)
    error = random.normal(0, 0.4 * factor, xy0.shape)
    moved0, moved1 = (
        np.where(reference[:, None] == 1, xy0 + error, xy0),
        np.where(reference[:, None] == 0, xy1 + error, xy1),
    )
    pixel = np.full(len(xy0), factor)
    pyramids = build_pyramid(walls.photos[0]), build_pyramid(walls.photos[1])
    found = refine_pair(Matches(moved0, moved1, reference, pixel, pixel), pyramids, Settings())
    truth, start = (np.where(reference[:, None] == 0, one, zero) for zero, one in ((xy0, xy1), (moved0, moved1)))
    good = found.status == Status.REFINED
    assert not (found.status == Status.REFERENCE).any()
    assert min(good[reference == 0].mean(), good[reference == 1].mean()) > 0.75
    for side in (0, 1):
        wrong = np.linalg.norm(found.xy - truth, axis=1)[good & (reference == side)]
        assert np.median(wrong) < 0.06 and np.percentile(wrong, 95) < 0.2
    assert np.array_equal(found.xy[~good], start[~good])
    assert np.isfinite(found.sigma[good]).all() and np.isnan(found.sigma[~good]).all()


def test_a_pair_without_matches(walls: Court) -> None:
    pyramids = build_pyramid(walls.photos[0]), build_pyramid(walls.photos[1])
    empty = np.zeros((0, 2))
    found = refine_pair(Matches(empty, empty, np.zeros(0, np.uint8), empty[:, 0], empty[:, 0]), pyramids, Settings())
    assert [len(column) for column in found] == [0] * 4


def views_of(scene: Court, seen: Observations, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centres = np.stack([camera.centre for camera in scene.cameras])
    return tangent_views(points, seen, centres, lambda photo, at: scene.cameras[photo].project(at)[0])


def test_maps_of_a_model_are_those_of_its_surfaces(courtyard: Court) -> None:
    """Against differences of exact projections through the scene."""
    seen, points = observe(courtyard, 2.4, 4000, error=0.0)
    views = views_of(courtyard, seen, points)
    np.testing.assert_allclose(views.projected, seen.xy, atol=1e-6)
    plan = plan_from_surfaces(seen, *views, half=9)
    base = plan.reference[seen.track]
    true = np.full(plan.maps.shape, np.nan)
    for a in range(3):
        for b in range(3):
            here = (seen.photo[base] == a) & (seen.photo == b) & (base != np.arange(len(base)))
            for k, off in enumerate(np.eye(2)):
                ends = [courtyard.seen_from(b, courtyard.points(a, seen.xy[base[here]] + s * off)) for s in (-1, 1)]
                true[here, :, k] = (ends[1] - ends[0]) / 2
    known = np.isfinite(true).all(axis=(1, 2))
    assert known.sum() > 2000
    assert np.percentile(np.abs(plan.maps - true)[known].max(axis=(1, 2)), 85) < 0.02
    np.testing.assert_allclose(plan.start, seen.xy, atol=1e-4)


def test_a_model_makes_more_and_better_observations(courtyard: Court) -> None:
    """From reprojections a pixel off, translation only, against what neighbours achieve with six unknowns."""
    seen, points = observe(courtyard, 4.0, 3000)
    first = outcome(courtyard, seen)
    projected, jacobians = (views := views_of(courtyard, seen, points)).projected, views.jacobians
    projected = projected + np.random.default_rng(1).normal(0, 0.5, projected.shape)
    plan = plan_from_surfaces(seen, jacobians, projected, 9)
    found = outcome(courtyard, seen, TRANSLATION, plan)
    assert found.accepted.mean() > first.accepted.mean()
    assert np.median(found.after[found.accepted]) < np.median(first.after[first.accepted])
    assert np.percentile(found.after[found.accepted], 95) < np.percentile(first.after[first.accepted], 95)


def test_a_start_is_as_far_off_its_projection_as_the_reference(walls: Court) -> None:
    seen, points = observe(walls, 3.0, 300)
    views = views_of(walls, seen, points)
    plan = plan_from_surfaces(seen, *views, half=9)
    others = np.flatnonzero(plan.reference[seen.track] != np.arange(len(seen.track)))
    base = plan.reference[seen.track[others]]
    through = np.stack([
        walls.seen_from(seen.photo[o], walls.points(seen.photo[b], seen.xy[b : b + 1]))[0]
        for o, b in zip(others, base, strict=True)
    ])  # fmt: skip
    known = np.isfinite(through[:, 0])
    assert known.sum() > 100
    assert np.median(np.linalg.norm(plan.start[others] - through, axis=1)[known]) < 0.02


def test_points_that_tell_no_plane_face_the_cameras() -> None:
    """Few points, points in space, and a plane seen edge on: tangents at right angles to the mean view."""
    random = np.random.default_rng(0)
    cloud = random.normal(0, 0.3, (60, 3)) + (0, 0, 5)
    edge = np.c_[random.uniform(-1, 1, (60, 1)), np.zeros(60), random.uniform(4, 6, 60)]
    for points in (cloud[:3], cloud, edge):
        count = len(points)
        photo, track = np.repeat(np.arange(2), count).astype(np.int32), np.tile(np.arange(count), 2).astype(np.int32)
        centres = np.array([[-0.5, 0, 0], [0.5, 0, 0]])
        cameras = [look(tuple(centre), tuple(centre + (0, 0, 5)), SIZE) for centre in centres]
        xy = np.concatenate([camera.project(points)[0] for camera in cameras])
        seen = Observations(photo, track, xy, np.ones(2 * count), np.tile(np.int32(SIZE), (2, 1)))
        views = views_of(Court([], cameras, []), seen, points)
        area = np.linalg.det(views.jacobians) * np.tile(points[:, 2] ** 2, 2) / (0.9 * 480) ** 2
        assert np.median(np.abs(area)) > 0.9
        assert (np.sign(area) == np.sign(area[0])).all()


def test_points_behind_a_camera_fall_back_to_the_observation(walls: Court) -> None:
    seen, points = observe(walls, 2.0, 200)
    views = views_of(walls, seen, points)
    broken = views.jacobians.copy()
    broken[::5] = np.nan
    plan = plan_from_surfaces(seen, broken, views.projected, 9)
    assert np.isfinite(plan.maps).all() and np.isfinite(plan.start).all()
    assert outcome(walls, seen, TRANSLATION, plan).accepted.mean() > 0.5
