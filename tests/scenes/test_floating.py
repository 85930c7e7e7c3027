"""Objects before a scene: nearer than it, exact, and the same thing in both views."""

from __future__ import annotations

import pytest
import torch

from astr_cli.scenes.floating import Objects, add_floating, hit
from astr_cli.scenes.geometry import pixel_grid
from astr_cli.scenes.overlap import overlap
from astr_cli.scenes.relief import render_relief
from astr_cli.scenes.textures import procedural_textures


def test_a_ball_and_a_box_are_hit_where_they_are() -> None:
    shape = torch.diag(torch.tensor([2.0, 4.0, 1.0])).expand(2, -1, -1)  # half axes 0.5, 0.25, 1
    objects = Objects(shape, torch.tensor([[0.0, 0.0, 5.0]] * 2), torch.tensor([False, True]))
    rays = torch.tensor([[0.0, 0.0, 1.0], [0.06, 0.0, 1.0], [0.3, 0.0, 1.0]]).T.expand(2, -1, -1)
    found = hit(objects, rays)
    assert found[0, 0] == pytest.approx(4.0) and found[1, 0] == found[1, 1] == pytest.approx(4.0)
    assert (found[:, 2] == 0).all()
    place = objects.shape @ (rays * found[:, None] - objects.centre[..., None])
    assert place[0, :, :2].norm(dim=0).tolist() == pytest.approx([1, 1])
    assert place[1, :, :2].abs().amax(dim=0).tolist() == pytest.approx([1, 1])


def test_both_views_show_the_same_surface() -> None:
    photos = procedural_textures(6, (120, 120), torch.Generator().manual_seed(3))
    bare = render_relief(photos, (96, 96), torch.Generator().manual_seed(4), 0.5)
    scene = add_floating(bare, photos, torch.Generator().manual_seed(8))
    for before, after, image, changed in (
        (bare.depth0, scene.depth0, bare.image0, scene.image0),
        (bare.depth1, scene.depth1, bare.image1, scene.image1),
    ):
        put = before != after
        assert 0.01 < put.float().mean() < 0.5
        assert ((after[put] < before[put]) | (before[put] == 0)).all()
        assert torch.equal(image[:, 0][~put], changed[:, 0][~put])
    assert (overlap(scene) < overlap(bare)).any()
    # A point of an object in view 0, moved to view 1, is what view 1 sees there, or hidden behind something nearer.
    put = (scene.depth0 != bare.depth0).flatten(1)
    points = torch.linalg.inv(scene.intrinsics0) @ pixel_grid((96, 96), put.device) * scene.depth0.flatten(1)[:, None]
    moved = scene.intrinsics1 @ (scene.pose[:, :3, :3] @ points + scene.pose[:, :3, 3:])
    x, y = (moved[:, :2] / moved[:, 2:].clamp(min=1e-6)).round().long().unbind(1)
    inside = put & (moved[:, 2] > 0) & (x >= 1) & (x < 95) & (y >= 1) & (y < 95)
    seen = scene.depth1.flatten(1).gather(1, (y.clamp(0, 95) * 96 + x.clamp(0, 95)))
    agree = (seen[inside] / moved[:, 2][inside] - 1).abs() < 0.02
    nearer = seen[inside] < moved[:, 2][inside] * 1.02
    assert agree.float().mean() > 0.5
    assert nearer.float().mean() > 0.93  # the rest are edges, rounded to a pixel beside the object
