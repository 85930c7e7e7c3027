"""What goes wrong with real photos, tried on rendered ones with exact truth; `choose_settings` prints such figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from astr_cli.refine.observations import Observations
from astr_cli.refine.pyramid import build_pyramid
from astr_cli.refine.settings import Settings, Status

from .courts import Camera, Court, Outcome, cast, court, look, observe, outcome, textures, wall, yard

SIZE = (640, 480)


def wall_court(cameras: list[Camera], seed: int = 3, exposures: tuple[float, ...] = (1.0,)) -> Court:
    return court([wall()], cameras, seed, exposures, textures(4, seed)[seed % 4][None])


def plain_views() -> list[Camera]:
    return [
        look((-1.2, 0.2, 0), (0, 0, 6), SIZE),
        look((0, 0, 0.2), (0, 0, 6), SIZE),
        look((1.3, -0.3, 0.1), (0, 0, 6), SIZE),
    ]


def assert_good(found: Outcome, share: float, median: float, tail: float) -> None:
    """At least `share` accepted, with errors of `median` and of `tail` in 95% at most; and far better than before."""
    after = found.after[found.accepted]
    assert len(found.rows) >= 200
    assert found.accepted.mean() >= share
    assert np.median(after) <= median
    assert np.percentile(after, 95) <= tail
    assert np.median(after) < 0.1 * np.median(found.before[found.accepted])


@pytest.fixture(scope="module")
def walls() -> Court:
    return wall_court(plain_views())


@pytest.fixture(scope="module")
def courtyard() -> Court:
    return yard()


@pytest.mark.parametrize("factor", [2.0, 2.4, 4.0, 6.0])
def test_a_wall_at_two_to_six_times_the_matched_size(walls: Court, factor: float) -> None:
    seen, _ = observe(walls, factor)
    assert_good(outcome(walls, seen), 0.85, 0.05, 0.12)


def test_depth_edges(courtyard: Court) -> None:
    """Of patches on two surfaces, few that are accepted follow the wrong one."""
    seen, _ = observe(courtyard, 2.4, 3000)
    found = outcome(courtyard, seen)
    assert_good(found, 0.7, 0.065, 0.38)
    reference = found.plan.reference[seen.track[found.rows]]
    edge = _on_edge(courtyard, seen, reference, Settings().half) & found.accepted
    assert edge.sum() > 150
    assert np.mean(found.before[edge] > 1) > 0.5
    assert np.mean(found.after[edge] > 1) < 0.1
    assert np.mean(found.after[found.accepted & ~edge] > 1) < 0.005


def _on_edge(scene: Court, seen: Observations, rows: np.ndarray, half: int) -> np.ndarray:
    """Whether the corners of a patch show another rectangle than its middle."""
    found = np.zeros(len(rows), bool)
    for number, camera in enumerate(scene.cameras):
        here = seen.photo[rows] == number
        xy = seen.xy[rows[here]]
        shown = [
            cast(scene.rectangles, camera.centre, camera.rays(xy + np.array(off) * half))[0]
            for off in ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
        ]
        found[here] = np.any([other != shown[0] for other in shown[1:]], axis=0)
    return found


def test_repeated_texture_is_not_taken_for_its_neighbour() -> None:
    """A pattern that repeats every 29 pixels: starts off by less than half of that end where they belong."""
    pattern = torch.nn.functional.interpolate(textures(4, 3)[3][None], size=(64, 64), mode="area")
    scene = court([wall()], plain_views(), 3, skins=pattern.repeat(1, 1, 16, 16).contiguous())
    seen, _ = observe(scene, 3.0, 800)
    found = outcome(scene, seen)
    assert_good(found, 0.85, 0.04, 0.1)
    assert np.mean(found.after[found.accepted] > 5) < 0.002


def test_flat_patches_stay_where_they_are() -> None:
    skins = textures(1, 5)
    skins[..., :512] = 0.5
    scene = court([wall()], plain_views(), 5, skins=skins)
    seen, points = observe(scene, 2.4)
    found = outcome(scene, seen)
    flat = points[seen.track, 0] < -0.2
    refined = found.refined.status == Status.REFINED
    assert flat.sum() > 300
    assert refined[flat].mean() < 0.02
    assert refined[points[seen.track, 0] > 0.2].mean() > 0.4  # of all, a third of which are references
    left = ~refined
    assert np.array_equal(found.refined.xy[left], seen.xy[left])
    assert np.isnan(found.refined.sigma[left]).all()


def test_strong_perspective() -> None:
    """A wall seen at 15 and at 62 degrees from its normal."""
    scene = wall_court([look((-1.5, 0.3, 0), (0, 0, 6), SIZE), look((5.6, 0, 3.2), (0, 0, 6), SIZE)])
    seen, _ = observe(scene, 2.4, 1500)
    assert_good(outcome(scene, seen), 0.65, 0.08, 0.25)


def test_a_scale_ratio_of_three() -> None:
    scene = wall_court([look((0.2, 0, -0.5), (0, 0, 6), SIZE), look((-0.2, 0.1, 4), (0.1, 0, 6), SIZE)])
    seen, _ = observe(scene, 2.4, 3000)
    found = outcome(scene, seen)
    assert_good(found, 0.55, 0.05, 0.12)
    assert np.mean(seen.photo[found.rows] == 0) > 0.75  # the closer photo is the reference: it knows the place best


@pytest.mark.parametrize("roll", [np.pi / 2, -np.pi / 2, np.pi])
def test_turned_photos(roll: float) -> None:
    turned = look((1.0, 0.2, 0), (0, 0, 6), SIZE, roll=roll)
    scene = wall_court([look((-0.8, 0, 0), (0, 0, 6), SIZE), turned])
    seen, _ = observe(scene, 2.4, 1200)
    assert_good(outcome(scene, seen), 0.8, 0.05, 0.12)


def test_exposure() -> None:
    """Half the light with another gamma, and a third more light that clips at white."""
    scene = wall_court(plain_views(), exposures=(0.5, 1.3, 0.9))
    photos = [photo if k else (255 * (photo / 255.0) ** 0.7).astype(np.uint8) for k, photo in enumerate(scene.photos)]
    seen, _ = observe(scene, 2.4)
    assert_good(outcome(Court(scene.rectangles, scene.cameras, photos), seen), 0.8, 0.065, 0.18)


def test_a_blurred_photo_of_three(walls: Court) -> None:
    """Its own observations are less sure, and those between the sharp photos as exact as ever."""
    blurred = gaussian_filter(walls.photos[1].astype(np.float32), 2.0)
    scene = Court(
        walls.rectangles, walls.cameras, [walls.photos[0], np.rint(blurred).astype(np.uint8), walls.photos[2]]
    )
    seen, _ = observe(walls, 2.4)
    found = outcome(scene, seen)
    assert_good(found, 0.4, 0.12, 0.8)
    reference = seen.photo[found.plan.reference[seen.track[found.rows]]]
    touched = (seen.photo[found.rows] == 1) | (reference == 1)
    sigma = found.refined.sigma[found.rows]
    sharp = found.accepted & ~touched
    assert np.median(sigma[found.accepted & touched]) > np.median(sigma[sharp])
    assert np.median(found.after[sharp]) < 0.05


def test_masked_pixels_enter_no_patch(walls: Court) -> None:
    """Whatever stands under the mask, results are the same to the last bit; patches that touch it are left."""
    mask = np.ones(SIZE[::-1], bool)
    mask[150:260, 200:420] = False
    seen, _ = observe(walls, 2.4)
    found = []
    for garbage in (0, 255):
        photos = [np.where(mask, photo, garbage).astype(np.uint8) for photo in walls.photos]
        pyramids = [build_pyramid(photo, mask) for photo in photos]
        found.append(outcome(walls, seen, pyramids=pyramids))
    for one, other in zip(found[0].refined, found[1].refined, strict=True):
        assert np.array_equal(one, other, equal_nan=True)
    x, y = seen.xy.T
    touching = (x > 195) & (x < 424) & (y > 145) & (y < 264)
    status = found[0].refined.status
    assert not (status[touching] == Status.REFINED).any()
    assert (status[touching] == Status.OUTSIDE).sum() > 50
    clear = outcome(walls, seen).refined
    away = np.flatnonzero(np.maximum(np.abs(seen.xy - (310, 205)) - (110, 55), 0).max(axis=1) > 60)
    same = away[status[away] == Status.REFINED]
    same = same[~touching[found[0].plan.reference[seen.track[same]]]]
    assert len(same) > 200
    moved = np.linalg.norm(found[0].refined.xy[same] - clear.xy[same], axis=1)
    assert np.percentile(moved, 95) < 0.02


def test_sigma_is_the_error_to_expect(courtyard: Court) -> None:
    """Away from blunders, errors are as large as sigma says, for sure and unsure observations alike."""
    seen, _ = observe(courtyard, 2.4, 3000, seed=3)
    found = outcome(courtyard, seen)
    good = found.accepted & (found.after < 1)
    sigma, error = found.refined.sigma[found.rows][good], found.after[good]
    for low, high in ((0.0, 0.06), (0.06, 0.12), (0.12, 0.3)):
        part = (sigma >= low) & (sigma < high)
        assert part.sum() > 100
        assert 0.4 < np.median(error[part] / sigma[part]) < 1.2  # 0.83 if errors were normal, and sigma right
