"""A photo on a plane, seen by two cameras: every homography, with exact depth."""

import math

import torch
from torch import Tensor

from astr_cli.scenes.geometry import Cameras, ScenePair, half_extents, photo_axis, pixel_grid, pixel_rays, relative_pose
from astr_cli.scenes.texturing import Pyramid, backgrounds, build_pyramid, sample
from astr_cli.scenes.views import draw_views

STEEPEST = math.radians(75)  # a plane never hides parts of itself, so it can be matched at steeper tilts than a relief
FAR = 1e3  # world units: beyond it a ray runs along the plane


def render_planes(
    photos: Tensor, size: tuple[int, int], generator: torch.Generator, difficulty: float = 1.0, hard: bool = False
) -> ScenePair:
    """Photos (B, 1, h, w) on planes, as B pairs of `size` (H, W) images; beyond the photo depth is 0.

    `difficulty` from 0 to 1 is how far apart the two views are, `hard` which of them (see `draw_views`).
    """
    extents = half_extents(photos)
    views = draw_views(len(photos), size, extents, generator, difficulty=difficulty, steepest=STEEPEST, hard=hard)
    pyramid = build_pyramid(photos)
    cameras0, cameras1 = (Cameras(*(part.to(photos.device) for part in cameras)) for cameras in views)
    image0, depth0 = _render(pyramid, cameras0, extents, backgrounds(photos, size, generator))
    image1, depth1 = _render(pyramid, cameras1, extents, backgrounds(photos, size, generator))
    pose = relative_pose(cameras0, cameras1)
    return ScenePair(image0, image1, depth0, depth1, cameras0.intrinsics, cameras1.intrinsics, pose)


def _render(pyramid: Pyramid, cameras: Cameras, extents: tuple[float, float], behind: Tensor) -> tuple[Tensor, Tensor]:
    size = (behind.shape[-2], behind.shape[-1])
    rays = pixel_rays(cameras, pixel_grid(size, behind.device))
    depth = -rays.origin[:, 2] / rays.direction[:, 2].clamp(min=1e-6)
    u = photo_axis(rays, depth, 0, extents[0]).unflatten(1, size)
    v = photo_axis(rays, depth, 1, extents[1]).unflatten(1, size)
    depth = depth.unflatten(1, size)
    hit = (depth > 0) & (depth < FAR) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    image = torch.where(hit[:, None], sample(pyramid, u, v), behind)
    return image.clamp(0, 1), torch.where(hit, depth, 0.0)
