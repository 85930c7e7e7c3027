"""A photo on a random height field, ray-marched from two cameras: parallax, occlusion, exact depth."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import (
    Cameras,
    Rays,
    ScenePair,
    half_extents,
    photo_axis,
    pixel_grid,
    pixel_rays,
    relative_pose,
    uniform,
)
from astr_cli.scenes.heights import height_fields, light_and_slope
from astr_cli.scenes.textures import noise_octaves
from astr_cli.scenes.texturing import Pyramid, backgrounds, build_pyramid, sample
from astr_cli.scenes.views import CLEARANCE, draw_views

MARCH_STEPS = 24
BISECTIONS = 4
GRAIN_SIZE = 256
MAX_HEIGHT = 0.8  # world units: 0.4 of a square photo's width


class Surface(NamedTuple):
    """Height fields over the photo's rectangle; the surface is z = -heights(x, y)."""

    heights: Tensor  # (B, 1, R, R) world units
    skin: Tensor  # (B, 2, R, R) brightness under the scene's light, and steepness in [0, 1]
    grain: Tensor  # (B, 1, N, N) noise around 0, in space: walls, where a photo only streaks, get texture
    top: Tensor  # (B, 1) upper bound of the heights
    extents: tuple[float, float]  # half width, half height of the rectangle


class Marching(NamedTuple):
    """Rays in the height field's grid: at depth d at grid + d * grid_rate and level + d * level_rate high."""

    grid: Tensor  # (B, N, 2)
    grid_rate: Tensor  # (B, N, 2)
    level: Tensor  # (B, N) height above the plane
    level_rate: Tensor  # (B, N)


def render_relief(
    photos: Tensor, size: tuple[int, int], generator: torch.Generator, difficulty: float = 1.0, hard: bool = False
) -> ScenePair:
    """Photos (B, 1, h, w) draped over height fields, as B pairs of `size` (H, W) images; beyond it depth is 0.

    `difficulty` from 0 to 1 is how far apart the two views are and how high the relief rises, `hard` which views (see
    `draw_views`).
    """
    device = photos.device
    extents = half_extents(photos)
    wished = MAX_HEIGHT * uniform(generator, (len(photos), 1), 0.15, 0.3 + 0.7 * difficulty)
    views = draw_views(len(photos), size, extents, generator, wished, difficulty, hard=hard)
    lowest = torch.minimum(-views.cameras0.position[:, 2], -views.cameras1.position[:, 2])[:, None]
    surface = _raise_surface(torch.minimum(wished, CLEARANCE * lowest), extents, generator, device)
    pyramid = build_pyramid(photos)
    cameras0, cameras1 = (Cameras(*(part.to(device) for part in cameras)) for cameras in views)
    image0, depth0 = _render(pyramid, surface, cameras0, backgrounds(photos, size, generator))
    image1, depth1 = _render(pyramid, surface, cameras1, backgrounds(photos, size, generator))
    pose = relative_pose(cameras0, cameras1)
    return ScenePair(image0, image1, depth0, depth1, cameras0.intrinsics, cameras1.intrinsics, pose)


def _raise_surface(
    top: Tensor, extents: tuple[float, float], generator: torch.Generator, device: torch.device
) -> Surface:
    """Height fields up to top (B, 1), with their light and grain."""
    count = len(top)
    heights = height_fields(count, extents, generator) * top[..., None, None]
    strength = uniform(generator, (count, 1, 1, 1), 0.0, 0.6)
    grain = strength * (noise_octaves(count, (GRAIN_SIZE, GRAIN_SIZE), generator) - 0.5)
    skin = light_and_slope(heights, extents, generator)
    return Surface(heights.to(device), skin.to(device), grain.to(device), top.to(device), extents)


def _render(pyramid: Pyramid, surface: Surface, cameras: Cameras, behind: Tensor) -> tuple[Tensor, Tensor]:
    size = (behind.shape[-2], behind.shape[-1])
    rays = pixel_rays(cameras, pixel_grid(size, behind.device))
    depth = march(surface, rays)
    u = photo_axis(rays, depth, 0, surface.extents[0]).unflatten(1, size)
    v = photo_axis(rays, depth, 1, surface.extents[1]).unflatten(1, size)
    height = -torch.addcmul(rays.origin[:, 2], rays.direction[:, 2], depth).unflatten(1, size)
    depth = depth.unflatten(1, size)
    colour = sample(pyramid, u, v) * _skin(surface, u, v, height)
    image = torch.where((depth > 0)[:, None], colour, behind)
    return image.clamp(0, 1), depth


def _skin(surface: Surface, u: Tensor, v: Tensor, height: Tensor) -> Tensor:
    """The factor (B, 1, H, W) of the photo's grey at u, v, height (B, H, W): light and grain."""
    skin = F.grid_sample(
        surface.skin, torch.stack((2 * u - 1, 2 * v - 1), dim=-1), padding_mode="border", align_corners=True
    )
    through = torch.stack((u - 0.5 - 0.45 * height, v - 0.5 - 0.3 * height), dim=-1)
    grain = F.grid_sample(surface.grain, through, padding_mode="reflection", align_corners=True)
    return skin[:, :1] * (1 + grain * (0.3 + 1.7 * skin[:, 1:]))


def march(surface: Surface, rays: Rays) -> Tensor:
    """z-depths (B, N) of where rays first meet the surface, 0 where they miss it."""
    near, far = _span(surface, rays)
    way = _way(surface, rays)
    step = (far - near).clamp(min=0) / MARCH_STEPS
    grid = torch.addcmul(way.grid, way.grid_rate, near[..., None])
    level = torch.addcmul(way.level, way.level_rate, near)
    grid_step, level_step = way.grid_rate * step[..., None], way.level_rate * step
    above = far > near
    steps_above = torch.zeros_like(near)
    for _ in range(MARCH_STEPS):
        grid += grid_step
        level += level_step
        above &= level > _height(surface, grid)
        steps_above += above
    found = (far > near) & ~above
    low = torch.addcmul(near, steps_above, step)
    return torch.where(found, _refine(surface, way, low, low + step), 0.0)


def _way(surface: Surface, rays: Rays) -> Marching:
    extents = rays.origin.new_tensor(surface.extents)
    grid = (rays.origin[:, :2, 0] / extents)[:, None]
    rate = torch.stack([rays.direction[:, k] / surface.extents[k] for k in range(2)], dim=-1)
    return Marching(grid, rate, -rays.origin[:, 2], -rays.direction[:, 2])


def _span(surface: Surface, rays: Rays) -> tuple[Tensor, Tensor]:
    """Depths (B, N) between which a ray can meet the surface: inside the rectangle, between the top and the plane."""
    ends = [(-surface.extents[k], surface.extents[k]) for k in range(2)] + [(-surface.top, 0.0)]
    near, far = torch.full_like(rays.direction[:, 0], 1e-3), torch.full_like(rays.direction[:, 0], 1e6)
    for k, (lower, upper) in enumerate(ends):
        inverse = 1 / torch.where(rays.direction[:, k].abs() < 1e-6, 1e-6, rays.direction[:, k])
        a, b = (lower - rays.origin[:, k]) * inverse, (upper - rays.origin[:, k]) * inverse
        near = torch.maximum(near, torch.minimum(a, b))
        far = torch.minimum(far, torch.maximum(a, b))
    return near, far


def _height(surface: Surface, grid: Tensor) -> Tensor:
    """Heights (B, N) at grid (B, N, 2), a hair raised so that the plane's end of a ray is never above."""
    found = F.grid_sample(surface.heights, grid[:, None], mode="bilinear", padding_mode="border", align_corners=True)
    return found[:, 0, 0] + 1e-5


def _clearance(surface: Surface, way: Marching, depth: Tensor) -> Tensor:
    level = torch.addcmul(way.level, way.level_rate, depth)
    return level - _height(surface, torch.addcmul(way.grid, way.grid_rate, depth[..., None]))


def _refine(surface: Surface, way: Marching, low: Tensor, high: Tensor) -> Tensor:
    """The crossing in [low, high]: bisection for walls, then a secant, which is exact where the surface is smooth."""
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        below = _clearance(surface, way, middle) <= 0
        low, high = torch.where(below, low, middle), torch.where(below, middle, high)
    above, under = _clearance(surface, way, low).clamp(min=0), _clearance(surface, way, high).clamp(max=0)
    return low + (high - low) * (above / (above - under).clamp(min=1e-9)).clamp(0, 1)
