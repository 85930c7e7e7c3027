"""Hard pairs: scale ratios of 2 to 4, and steep planes."""

import math

import pytest
import torch

from astr_cli.scenes.facades import render_facades
from astr_cli.scenes.planes import STEEPEST, render_planes
from astr_cli.scenes.relief import render_relief
from astr_cli.scenes.rooms import render_rooms
from astr_cli.scenes.textures import procedural_textures
from astr_cli.scenes.views import MAX_TILT, ViewPair, draw_views
from astr_cli.train.supervision import supervise


def seeded(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def ratios_of(views: ViewPair) -> torch.Tensor:
    """The greater by the smaller of the widths that both images span at their targets."""
    reach = []
    for cameras in views:
        along = -cameras.position[:, 2] / cameras.rotation[:, 2, 2]  # to where the axis meets the plane
        reach.append(along / cameras.intrinsics[:, 0, 0])
    return torch.maximum(reach[0] / reach[1], reach[1] / reach[0])


def leans_of(views: ViewPair) -> torch.Tensor:
    return views.cameras1.rotation[:, 2, 2].acos()


def test_hard_views_differ_in_size_by_two_to_four() -> None:
    views = draw_views(256, (64, 64), (1.0, 1.0), seeded(0), hard=True)
    ratio = ratios_of(views)
    assert ratio.min() > 1.99 and ratio.max() < 4.01
    assert (ratio > 3).float().mean() > 0.25
    assert leans_of(views).max() < MAX_TILT + 1e-3


def test_half_of_the_hard_views_of_planes_are_steep() -> None:
    views = draw_views(256, (64, 64), (1.0, 1.0), seeded(1), steepest=STEEPEST, hard=True)
    zoomed = ratios_of(views) > 1.99
    steep = leans_of(views) > MAX_TILT - 1e-3
    assert leans_of(views).max() < STEEPEST + 1e-3
    assert (zoomed | steep).all()
    assert 0.35 < steep.float().mean() < 0.75


@pytest.mark.parametrize("render", [render_relief, render_rooms, render_facades])
def test_what_is_rendered_differs_in_size_too(render) -> None:
    photos = procedural_textures(32, (128, 128), seeded(2))
    photos = photos if render is render_relief else photos.view(8, 4, 128, 128)
    truth = supervise(render(photos[:8], (128, 128), seeded(3), 0.8, True))
    sizes = [truth.ratios[truth.batch == pair].log().median().abs() for pair in range(8) if (truth.batch == pair).any()]
    assert len(sizes) > 5
    assert torch.stack(sizes).median() > math.log(1.8)


def test_steep_planes_have_true_matches() -> None:
    truth = supervise(render_planes(procedural_textures(8, (256, 256), seeded(4)), (128, 128), seeded(5), 1.0, True))
    assert (torch.bincount(truth.batch, minlength=8) > 5).float().mean() > 0.7
