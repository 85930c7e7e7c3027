"""Rendered pairs: images, depths, intrinsics and pose must tell the same story, pixel for pixel."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import (
    Cameras,
    ScenePair,
    half_extents,
    intrinsics_matrix,
    look_at,
    pixel_grid,
    pixel_rays,
    project,
)
from astr_cli.scenes.planes import render_planes
from astr_cli.scenes.relief import Surface, march, render_relief
from astr_cli.scenes.textures import procedural_textures
from astr_cli.scenes.texturing import build_pyramid, sample
from astr_cli.scenes.views import draw_views

Render = Callable[[Tensor, tuple[int, int], torch.Generator], ScenePair]
RENDERERS = pytest.mark.parametrize("render", [render_planes, render_relief])
SIZE = (96, 128)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_photos(count: int, seed: int = 0) -> Tensor:
    """Textures without detail finer than the renderer samples, so that views of any scale agree in grey."""
    fine = procedural_textures(count, (160, 192), seeded(seed))
    return F.interpolate(F.avg_pool2d(fine, 8), size=(160, 192), mode="bicubic", align_corners=False).clamp(0, 1)


class Warp:
    """Image 1 seen through depth 0 and the pose: where the pixels of image 0 land, and what is found there."""

    def __init__(self, pair: ScenePair) -> None:
        count, _, height, width = pair.image0.shape
        pixels = pixel_grid((height, width), pair.image0.device)
        points = torch.linalg.inv(pair.intrinsics0) @ pixels * pair.depth0.flatten(1)[:, None]
        moved = pair.pose[:, :3, :3] @ points + pair.pose[:, :3, 3:]
        self.z = moved[:, 2].unflatten(1, (height, width))
        image = (pair.intrinsics1 @ moved)[:, :2] / moved[:, 2:].clamp(min=1e-6)
        scale = torch.tensor([2 / (width - 1), 2 / (height - 1)])
        grid = (image.transpose(1, 2) * scale - 1).view(count, height, width, 2)
        self.inside = (grid.abs() <= 1).all(-1) & (pair.depth0 > 0) & (self.z > 0)
        self.image = F.grid_sample(pair.image1, grid, align_corners=True)[:, 0]
        nearest = {"align_corners": True, "mode": "nearest"}
        self.depth = F.grid_sample(pair.depth1[:, None], grid, **nearest)[:, 0]
        smooth = F.grid_sample((1 / pair.depth1.clamp(min=1e-6))[:, None], grid, align_corners=True)[:, 0]
        self.smooth_depth = 1 / smooth
        self.covisible = self.inside & (self.depth > 0) & ((self.depth - self.z).abs() < 0.05 * self.z)
        self.interior = self.covisible & (F.max_pool2d((~self.covisible).float()[:, None], 5, 1, 2)[:, 0] == 0)


@RENDERERS
def test_shapes_ranges_and_calibration(render: Render) -> None:
    pair = render(smooth_photos(3), SIZE, seeded(1))
    for image, depth, intrinsics in (
        (pair.image0, pair.depth0, pair.intrinsics0),
        (pair.image1, pair.depth1, pair.intrinsics1),
    ):
        assert image.shape == (3, 1, *SIZE) and depth.shape == (3, *SIZE) and intrinsics.shape == (3, 3, 3)
        assert image.min() >= 0 and image.max() <= 1 and depth.min() >= 0
        assert ((intrinsics[:, 0, 0] / SIZE[1] > 0.59) & (intrinsics[:, 0, 0] / SIZE[1] < 1.61)).all()
    assert all(part.dtype == torch.float32 and torch.isfinite(part).all() for part in pair)
    rotation = pair.pose[:, :3, :3]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(3, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(3), atol=1e-5)


@RENDERERS
def test_a_seed_decides_everything(render: Render) -> None:
    photos = smooth_photos(2)
    first, again, other = (render(photos, SIZE, seeded(seed)) for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.image0, other.image0)


@RENDERERS
def test_image1_warped_by_depth_and_pose_is_image0(render: Render) -> None:
    photos = smooth_photos(6)
    checked = 0
    for seed in range(4):
        pair = render(photos, (128, 128), seeded(seed))
        warp = Warp(pair)
        error = (pair.image0[:, 0] - warp.image).abs()[warp.interior]
        checked += len(error)
        assert error.median() < 0.004
        assert error.mean() < 0.012
    assert checked > 20_000


@RENDERERS
def test_depths_agree_through_the_pose(render: Render) -> None:
    pair = render(smooth_photos(6), (128, 128), seeded(7))
    warp = Warp(pair)
    gap = ((warp.smooth_depth - warp.z).abs() / warp.z)[warp.interior]
    assert len(gap) > 5000
    assert gap.median() < 2e-4
    assert (gap < 2e-3).float().mean() > (0.99 if render is render_planes else 0.9)


@RENDERERS
def test_every_pair_overlaps_and_overlaps_vary(render: Render) -> None:
    shares = []
    for seed in range(6):
        warp = Warp(render(smooth_photos(8), (48, 64), seeded(seed)))
        shares += warp.covisible.float().mean(dim=(1, 2)).tolist()
    assert min(shares) > 0.01
    assert min(shares) < 0.2 and max(shares) > 0.7


def test_relief_hides_surface_from_one_view_and_planes_never_do() -> None:
    hidden = {}
    for render in (render_planes, render_relief):
        warp = Warp(render(smooth_photos(8), (96, 96), seeded(3)))
        behind = warp.inside & (warp.depth > 0) & (warp.depth < 0.95 * warp.z)
        hidden[render] = float(behind.sum() / warp.inside.sum())
    assert hidden[render_planes] < 0.001
    assert 0.01 < hidden[render_relief] < 0.5


def test_background_differs_between_the_views() -> None:
    pair = render_planes(smooth_photos(4), SIZE, seeded(2))
    both = (pair.depth0 == 0) & (pair.depth1 == 0)
    assert both.sum() > 500
    assert (pair.image0[:, 0] - pair.image1[:, 0]).abs()[both].mean() > 0.02


def test_views_vary_as_promised() -> None:
    photos = torch.zeros(256, 1, 64, 64)
    views = draw_views(256, (64, 64), half_extents(photos), seeded(0))
    focal = views.cameras0.intrinsics[:, 0, 0] / views.cameras1.intrinsics[:, 0, 0]
    assert (focal == 1).float().mean() > 0.3 and focal.max() > 1.2 and focal.min() < 0.85
    lean = views.cameras0.rotation[:, 2, 2].acos().rad2deg()
    assert lean.max() < 60.1 and (lean > 40).float().mean() > 0.15 and (lean < 20).float().mean() > 0.1
    relative = views.cameras1.rotation @ views.cameras0.rotation.transpose(1, 2)
    angle = ((relative.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2).clamp(-1, 1).acos().rad2deg()
    assert angle.max() > 70 and angle.median() < 60
    reach = [-cameras.position[:, 2] / cameras.intrinsics[:, 0, 0] for cameras in views]
    scale = reach[0] / reach[1]
    assert scale.max() > 2 and scale.min() < 0.5 and ((scale > 0.5) & (scale < 2)).float().mean() > 0.6


def test_look_at_puts_the_target_on_the_axis_and_keeps_the_image_upright() -> None:
    position, target = torch.tensor([[0.4, -0.3, -2.0]]), torch.tensor([[0.1, 0.2, 0.0]])
    rotation = look_at(position, target, torch.zeros(1))
    cameras = Cameras(
        intrinsics_matrix(torch.tensor([50.0]), torch.tensor([20.0]), torch.tensor([10.0])), rotation, position
    )
    pixels, depth = project(cameras, target[..., None])
    assert torch.allclose(pixels[0, :, 0], torch.tensor([20.0, 10.0]), atol=1e-4)
    assert torch.allclose(depth, (target - position).norm(dim=-1, keepdim=True))
    assert rotation[0, 0, 1].abs() < 1e-6 and rotation[0, 1, 1] > 0.9


def test_rays_and_projection_are_inverse() -> None:
    cameras = draw_views(5, SIZE, (1.0, 1.0), seeded(1)).cameras1
    pixels = pixel_grid(SIZE, torch.device("cpu"))
    rays = pixel_rays(cameras, pixels)
    back, depth = project(cameras, rays.origin + 1.7 * rays.direction)
    assert (back - pixels[:2]).abs().max() < 1e-3
    assert (depth - 1.7).abs().max() < 1e-4


def make_surface(heights: Tensor) -> Surface:
    count = len(heights)
    flat = torch.cat((torch.ones_like(heights), torch.zeros_like(heights)), dim=1)
    return Surface(heights, flat, torch.zeros(count, 1, 4, 4), heights.amax(dim=(2, 3)).clamp(min=0.1), (1.0, 1.0))


def test_marching_a_flat_surface_gives_the_plane() -> None:
    cameras = draw_views(4, SIZE, (1.0, 1.0), seeded(2)).cameras0
    rays = pixel_rays(cameras, pixel_grid(SIZE, torch.device("cpu")))
    depth = march(make_surface(torch.zeros(4, 1, 64, 64)), rays)
    truth = -rays.origin[:, 2] / rays.direction[:, 2]
    hit = depth > 0
    assert hit.float().mean() > 0.5
    assert ((depth - truth).abs() / truth)[hit].max() < 1e-3


def test_marching_a_tent_is_exact_to_a_thousandth() -> None:
    """Heights 0.3 (1 - |x|), which the bilinear grid holds exactly, so the crossing has a closed form."""
    line = torch.linspace(-1, 1, 129)
    heights = (0.3 * (1 - line.abs())).expand(1, 1, 129, 129).contiguous()
    position, target = torch.tensor([[0.3, 0.1, -1.6]]), torch.tensor([[0.0, 0.0, 0.0]])
    intrinsics = intrinsics_matrix(torch.tensor([100.0]), torch.tensor([63.5]), torch.tensor([47.5]))
    cameras = Cameras(intrinsics, look_at(position, target, torch.zeros(1)), position)
    rays = pixel_rays(cameras, pixel_grid(SIZE, torch.device("cpu")))
    depth = march(make_surface(heights), rays)
    point = rays.origin + depth[:, None] * rays.direction
    hit = depth > 0
    gap = (-point[:, 2] - 0.3 * (1 - point[:, 0].abs()))[hit].abs() / depth[hit]
    assert hit.float().mean() > 0.9
    assert gap.max() < 1e-3


def test_a_far_view_of_fine_detail_is_grey_not_aliased() -> None:
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    checker = ((x + y) % 2).float()[None, None]
    line = (torch.arange(32) + 0.3) / 32
    image = sample(build_pyramid(checker), line.expand(1, 32, 32), line[:, None].expand(1, 32, 32))
    assert (image - 0.5).abs().max() < 0.02


def test_sampling_at_texel_centres_returns_the_photo() -> None:
    photo = torch.rand(1, 1, 64, 96, generator=seeded(0))
    u, v = (torch.arange(96) + 0.5) / 96, (torch.arange(64) + 0.5) / 64
    image = sample(build_pyramid(photo), u.expand(1, 64, 96), v[:, None].expand(1, 64, 96))
    assert torch.allclose(image, photo, atol=1e-4)


@pytest.mark.parametrize("photo_size", [(33, 47), (300, 200), (64, 64)])
def test_any_photo_size_and_a_single_photo_render(photo_size: tuple[int, int]) -> None:
    photo = procedural_textures(1, photo_size, seeded(0))
    for render in (render_planes, render_relief):
        pair = render(photo, (64, 96), seeded(0))
        assert (pair.depth0 > 0).float().mean() > 0.1
