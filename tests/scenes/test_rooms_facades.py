"""Rooms and facades as pairs: images, depths and poses tell one story; views are as far apart as promised."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes import box_rendering as stage
from astr_cli.scenes.facades import render_facades
from astr_cli.scenes.geometry import ScenePair, pixel_grid
from astr_cli.scenes.overlap import overlap, shares
from astr_cli.scenes.rooms import render_rooms
from astr_cli.scenes.textures import procedural_textures

Render = Callable[..., ScenePair]
RENDERERS = pytest.mark.parametrize("render", [render_rooms, render_facades])
SIZE = (80, 96)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(count: int, number: int = 3, side: int = 96) -> Tensor:
    """(count, number, side, side) without detail finer than eight texels."""
    fine = procedural_textures(count * number, (side, side), seeded(0))
    coarse = F.interpolate(F.avg_pool2d(fine, 8), size=(side, side), mode="bicubic", align_corners=False)
    return coarse.clamp(0, 1).view(count, number, side, side)


def warp(pair: ScenePair) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of image 0's pixels: grey and depth found in view 1, the depth there by the pose, and whether it is in view."""
    count, _, height, width = pair.image0.shape
    points = torch.linalg.inv(pair.intrinsics0) @ pixel_grid((height, width), pair.image0.device)
    moved = pair.pose[:, :3, :3] @ (points * pair.depth0.flatten(1)[:, None]) + pair.pose[:, :3, 3:]
    z = moved[:, 2].unflatten(1, (height, width))
    image = (pair.intrinsics1 @ moved)[:, :2] / moved[:, 2:].clamp(min=1e-6)
    grid = (image.transpose(1, 2) * torch.tensor([2 / (width - 1), 2 / (height - 1)]) - 1).view(count, height, width, 2)
    inside = (grid.abs() <= 1).all(-1) & (pair.depth0 > 0) & (z > 0)
    grey = F.grid_sample(pair.image1, grid, align_corners=True)[:, 0]
    inverse = F.grid_sample((1 / pair.depth1.clamp(min=1e-6))[:, None], grid, align_corners=True)[:, 0]
    return grey, 1 / inverse, z, inside


@RENDERERS
@pytest.mark.parametrize(("size", "side", "number"), [((64, 64), 70, 1), ((48, 80), 64, 4)])
def test_shapes_ranges_and_calibration(render: Render, size: tuple[int, int], side: int, number: int) -> None:
    pair = render(photos(2, number, side), size, seeded(1))
    for image, depth in ((pair.image0, pair.depth0), (pair.image1, pair.depth1)):
        assert image.shape == (2, 1, *size) and depth.shape == (2, *size)
        assert image.min() >= 0 and image.max() <= 1 and depth.min() >= 0 and image.std() > 0.03
    assert all(part.dtype == torch.float32 and torch.isfinite(part).all() for part in pair)
    rotation = pair.pose[:, :3, :3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(2, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(2), atol=1e-5)


@RENDERERS
def test_a_seed_decides_everything(render: Render) -> None:
    textures = photos(2)
    first, again, other = (render(textures, SIZE, seeded(seed)) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.image0, other.image0)


@RENDERERS
def test_how_many_rays_are_cast_at_once_changes_nothing(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    single = render(photos(3), SIZE, seeded(6))
    monkeypatch.setattr(stage, "RAYS_AT_ONCE_CPU", 2**24)
    whole = render(photos(3), SIZE, seeded(6))
    for a, b in zip(single, whole, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@RENDERERS
def test_depths_agree_through_the_pose(render: Render) -> None:
    """A point of view 0 lies in view 1 on the surface seen there, or hidden behind it: never before it."""
    gaps, before = [], []
    for seed in range(3):
        pair = render(photos(4), (128, 128), seeded(seed))
        _, found, z, inside = warp(pair)
        gaps.append(((z - found) / z)[inside & (found < 1e5)])
        # Against the nearest depth around, as a silhouette may run between two pixels of view 1.
        filled = torch.where(pair.depth1 > 0, pair.depth1, 1e6)[:, None]
        nearest = -F.max_pool2d(-filled, 3, 1, 1)
        _, nearest_found, _, _ = warp(pair._replace(depth1=nearest[:, 0]))
        before.append((z < 0.97 * nearest_found)[inside])
    gap = torch.cat(gaps)
    seen = gap.abs() < 0.03
    assert len(gap) > 20_000 and seen.float().mean() > 0.6
    assert gap[seen].abs().median() < 1e-5  # planes: bilinear in 1 / depth is exact
    assert torch.cat(before).float().mean() < 0.003


@RENDERERS
def test_image1_warped_by_depth_and_pose_is_image0(render: Render) -> None:
    """Far closer than when the warp is off by two pixels; both views are filtered to the coarser of their scales."""
    right, wrong = [], []
    for seed in range(4):
        pair = render(photos(4), (128, 128), seeded(seed), 0.4)
        soft = pair._replace(image0=F.avg_pool2d(pair.image0, 3, 1, 1), image1=F.avg_pool2d(pair.image1, 3, 1, 1))
        grey, found, z, inside = warp(soft)
        seen = inside & ((z - found).abs() < 1e-3 * z)
        for target, off in ((right, 0), (wrong, 2)):
            target.append((soft.image0[:, 0].roll(off, dims=2) - grey).abs()[seen])
    assert sum(len(part) for part in right) > 50_000
    assert torch.cat(right).median() < 0.012
    assert torch.cat(right).mean() < 0.5 * torch.cat(wrong).mean()


@RENDERERS
def test_overlaps_and_scale_ratios_fill_their_ranges(render: Render) -> None:
    overlaps, ratios = [], []
    for seed in range(12):
        pair = render(photos(8, 1, 32), (64, 64), seeded(seed))
        overlaps += overlap(pair).tolist()
        zoom = shares(pair.depth0, pair.depth1, pair.intrinsics0, pair.intrinsics1, pair.pose)
        ratios += zoom.log_ratio.abs().exp().tolist()
    assert min(overlaps) > 0.09 and max(overlaps) < 0.91
    assert min(overlaps) < 0.25 and max(overlaps) > 0.65
    assert max(ratios) > 2.9 and sorted(ratios)[len(ratios) // 2] < 1.6
    assert max(ratios) < 4.8  # 4, measured on a coarse grid


@RENDERERS
def test_difficulty_draws_views_apart(render: Render) -> None:
    angles, shared = {}, {}
    for difficulty in (0.0, 1.0):
        pairs = [render(photos(8, 1, 32), (48, 48), seeded(seed), difficulty) for seed in range(4)]
        rotation = torch.cat([pair.pose[:, :3, :3] for pair in pairs])
        turn = ((rotation.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2).clamp(-1, 1).acos()
        angles[difficulty] = math.degrees(turn.median())
        shared[difficulty] = float(torch.cat([overlap(pair) for pair in pairs]).median())
    assert angles[0.0] < 25 < angles[1.0] < 70
    assert shared[1.0] < 0.55 < shared[0.0]


def test_rooms_are_closed_and_facades_have_a_sky_that_says_nothing() -> None:
    room = render_rooms(photos(6, 1, 32), (48, 48), seeded(0))
    assert (room.depth0 > 0).all() and (room.depth1 > 0).all()
    street = render_facades(photos(16, 1, 32), (48, 48), seeded(0))
    known = torch.stack((street.depth0, street.depth1)) > 0
    assert 0.6 < known.float().mean() < 0.98
    assert known.float().mean(dim=(2, 3)).min() > 0.2


@RENDERERS
def test_both_views_see_depth_edges_and_hidden_surface(render: Render) -> None:
    _, found, z, inside = warp(render(photos(8), (96, 96), seeded(3)))
    hidden = inside & (found < 0.9 * z)
    assert 0.01 < (hidden.sum() / inside.sum()).item() < 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@RENDERERS
def test_a_gpu_renders_the_same_scenes(render: Render) -> None:
    host = render(photos(3), SIZE, seeded(2))
    device = render(photos(3).cuda(), SIZE, seeded(2))
    for a, b in zip(host, device, strict=True):
        assert b.device.type == "cuda"
        assert (a - b.cpu()).abs().median() < 1e-4
