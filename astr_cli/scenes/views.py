"""Choosing two cameras for a photo's rectangle: many candidates are drawn, and one near a target overlap is kept."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.scenes.geometry import (
    Cameras,
    chance,
    intrinsics_matrix,
    look_at,
    pixel_grid,
    pixel_rays,
    project,
    uniform,
)

CANDIDATES = 32
OVERLAP_GRID = 12
MAX_TILT = math.radians(60)
USUAL_LEVEL = 0.35  # of the greatest height: where most of a relief is
CLEARANCE = 0.5  # the highest point reaches this share of the lower camera's height at most
MIN_HARD_SHARE = 0.04  # a close-up at ratio 4 fills a sixteenth of the other one
MIN_SHARE = 0.08  # of either image's pixels that the other must see, for any target overlap


class ViewPair(NamedTuple):
    cameras0: Cameras
    cameras1: Cameras


def draw_views(
    count: int,
    size: tuple[int, int],
    extents: tuple[float, float],
    generator: torch.Generator,
    heights: Tensor | None = None,
    difficulty: float = 1.0,
    steepest: float = MAX_TILT,
    hard: bool = False,
) -> ViewPair:
    """Two cameras for each of `count` rectangles of half `extents`, for images of `size` (H, W).

    `heights` (count, 1) is how high the surface rises: overlap is that of its usual level, and cameras well above it
    are preferred. `difficulty` from 0 to 1 shrinks tilts and scale changes and raises the overlap; `steepest` is the
    greatest tilt in radians. `hard` pairs have a scale ratio of 2 to 4; of those that may lean further than MAX_TILT
    half do, in the second view, at a usual ratio.

    Overlap (geometric mean of the shares of each image that the other sees) is drawn from 0.1 (0.6 at difficulty 0) to
    0.9, and the candidate that comes nearest is kept, so no pair is empty.
    """
    shape = (count, CANDIDATES)
    focal0 = size[1] * torch.exp(uniform(generator, shape, math.log(0.6), math.log(1.6)))
    other = torch.exp(uniform(generator, shape, -math.log(1.5), math.log(1.5)))
    focal1 = torch.where(chance(generator, shape, 0.5), focal0, focal0 * other)
    focal1 = focal1.clamp(0.6 * size[1], 1.6 * size[1])
    reach0 = torch.exp(uniform(generator, shape, math.log(0.85), math.log(1.7 + 0.8 * difficulty)))
    reach1 = (reach0 * _scale_ratio(shape, generator) ** difficulty).clamp(0.5, 4.5)
    steep = chance(generator, (count, 1), 0.5) if hard and steepest > MAX_TILT else torch.zeros(count, 1) > 0
    if hard:
        zoomed0, zoomed1 = _hard_reaches(shape, generator)
        reach0, reach1 = torch.where(steep, reach0, zoomed0), torch.where(steep, reach1, zoomed1)

    scale = torch.tensor(extents, device=generator.device)
    target0 = uniform(generator, (*shape, 2), -0.7, 0.7) * scale
    target1 = target0 + torch.randn((*shape, 2), generator=generator, device=generator.device) * 0.35
    target1 = target1.clamp(-0.9 * scale, 0.9 * scale)
    tilt0, tilt1 = (tilt * (0.4 + 0.6 * difficulty) for tilt in _tilts(shape, generator, steepest))
    if hard and steepest > MAX_TILT:
        tilt1 = torch.where(steep[..., None], _tilt(shape, generator, MAX_TILT, steepest), tilt1)
    cameras0 = _cameras(size, focal0, reach0, target0, tilt0, generator)
    cameras1 = _cameras(size, focal1, reach1, target1, tilt1, generator)

    heights = torch.zeros(count, 1, device=generator.device) if heights is None else heights
    level = (USUAL_LEVEL * heights)[..., None]
    share01 = _shares(cameras0, cameras1, size, scale, level)
    share10 = _shares(cameras1, cameras0, size, scale, level)
    overlap = (share01 * share10).sqrt()
    wished = uniform(generator, (count, 1), 0.6 - 0.5 * difficulty, 0.9)
    ratio = torch.maximum(reach0 / reach1, reach1 / reach0)
    wished = torch.minimum(wished, 0.9 / ratio) if hard else wished  # more than 1 / ratio cannot be
    least = MIN_HARD_SHARE if hard else MIN_SHARE
    miss = (overlap - wished).abs() + 10.0 * (torch.minimum(share01, share10) < least)
    miss += (torch.maximum(cameras0.position[..., 2], cameras1.position[..., 2]) > -heights / CLEARANCE).float()
    best = (miss - 1e-3 * overlap).argmin(dim=1)
    return ViewPair(cameras0.select(best), cameras1.select(best))


def _scale_ratio(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Ratio of the two footprints: mostly 0.6 to 1.7, sometimes up to 3 either way."""
    usual = torch.exp(uniform(generator, shape, math.log(0.6), math.log(1.7)))
    wide = torch.exp(uniform(generator, shape, -math.log(3.0), math.log(3.0)))
    return torch.where(chance(generator, shape, 0.2), wide, usual)


def _hard_reaches(shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Widths that both images span at their targets: one of them two to four times the other's."""
    near = torch.exp(uniform(generator, shape, math.log(0.55), math.log(1.1)))
    far = near * torch.exp(uniform(generator, (shape[0], 1), math.log(2.0), math.log(4.0)))
    swapped = chance(generator, (shape[0], 1), 0.5)
    return torch.where(swapped, far, near), torch.where(swapped, near, far)


def _tilts(shape: tuple[int, ...], generator: torch.Generator, steepest: float) -> tuple[Tensor, Tensor]:
    """Viewing directions as 2-vectors: length = angle off the normal, direction = where the camera leans to."""
    first = _tilt(shape, generator, 0.0, steepest)
    near = first + torch.randn((*shape, 2), generator=generator, device=generator.device) * math.radians(20)
    second = torch.where(chance(generator, (*shape, 1), 0.3), _tilt(shape, generator, 0.0, steepest), near)
    return first, second * (steepest / second.norm(dim=-1, keepdim=True).clamp(min=steepest))


def _tilt(shape: tuple[int, ...], generator: torch.Generator, least: float, most: float) -> Tensor:
    """Viewing directions of `least` to `most` radians off the normal, leaning anywhere, as `_tilts`."""
    angle = uniform(generator, shape, least, most)
    towards = uniform(generator, shape, 0.0, 2 * math.pi)
    return torch.stack((angle * towards.cos(), angle * towards.sin()), dim=-1)


def _cameras(
    size: tuple[int, int], focal: Tensor, reach: Tensor, target: Tensor, tilt: Tensor, generator: torch.Generator
) -> Cameras:
    """Cameras whose image width spans `reach` world units at the target, leaning by `tilt`, mostly upright."""
    shape = tuple(focal.shape)
    distance = reach * focal / size[1]
    angle = tilt.norm(dim=-1, keepdim=True)
    sideways = tilt / angle.clamp(min=1e-6) * angle.sin()
    aim = torch.cat((target, torch.zeros_like(angle)), dim=-1)
    position = aim + distance[..., None] * torch.cat((sideways, -angle.cos()), dim=-1)
    small = torch.randn(shape, generator=generator, device=generator.device).clamp(-2, 2) * math.radians(15)
    large = uniform(generator, shape, -math.pi / 2, math.pi / 2)
    roll = torch.where(chance(generator, shape, 0.1), large, small)
    off_x = uniform(generator, shape, -0.04, 0.04) * size[1]
    off_y = uniform(generator, shape, -0.04, 0.04) * size[0]
    intrinsics = intrinsics_matrix(focal, (size[1] - 1) / 2 + off_x, (size[0] - 1) / 2 + off_y)
    return Cameras(intrinsics, look_at(position, aim, roll), position)


def _shares(seen_by: Cameras, other: Cameras, size: tuple[int, int], extents: Tensor, level: Tensor) -> Tensor:
    """Share of the pixels of `seen_by` whose point of the rectangle, raised to `level`, is in the image of `other`."""
    pixels = pixel_grid((OVERLAP_GRID, OVERLAP_GRID), extents.device)
    spread = extents.new_tensor((size[1] / OVERLAP_GRID, size[0] / OVERLAP_GRID))
    pixels[:2] = (pixels[:2] + 0.5) * spread[:, None] - 0.5
    rays = pixel_rays(seen_by, pixels)
    depth = (-level - rays.origin[..., 2, :]) / rays.direction[..., 2, :].clamp(min=1e-6)
    points = rays.origin + depth[..., None, :] * rays.direction
    on_photo = (rays.direction[..., 2, :] > 1e-3) & (points[..., :2, :].abs() <= extents[:, None]).all(dim=-2)
    pixels, other_depth = project(other, points)
    x, y = pixels.unbind(-2)
    inside = (x > -0.5) & (x < size[1] - 0.5) & (y > -0.5) & (y < size[0] - 0.5) & (other_depth > 1e-3)
    return (on_photo & inside).float().mean(dim=-1)
