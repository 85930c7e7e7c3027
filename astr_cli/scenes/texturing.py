"""Sampling photos where rays hit them: mip levels against aliasing, and the background behind the photo."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import chance, uniform
from astr_cli.scenes.textures import noise_octaves

LEVELS = 6


class Pyramid(NamedTuple):
    """All mip levels of B photos in one atlas, so that a sample costs two lookups, not one per level.

    Level 0 stands on the left; the others, each half as large as the one before, stand below one another on its right.
    """

    atlas: Tensor  # (B, 1, h, w + w / 2)
    size: tuple[int, int]  # w, h of level 0, multiples of 2 ** (LEVELS - 1)


def build_pyramid(photos: Tensor) -> Pyramid:
    """Mip levels of photos (B, 1, h, w), each the 2 x 2 mean of the one before."""
    unit = 2 ** (LEVELS - 1)
    height, width = (max(unit, side // unit * unit) for side in photos.shape[-2:])
    if photos.shape[-2:] != (height, width):
        photos = F.interpolate(photos, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    atlas = photos.new_zeros(len(photos), 1, height, width + width // 2)
    atlas[..., :width] = photos
    level, y = photos, 0
    for _ in range(1, LEVELS):
        level = F.avg_pool2d(level, 2)
        atlas[:, :, y : y + level.shape[-2], width : width + level.shape[-1]] = level
        y += level.shape[-2]
    return Pyramid(atlas, (width, height))


def sample(pyramid: Pyramid, u: Tensor, v: Tensor) -> Tensor:
    """Photos at u, v (B, H, W) in [0, 1] -> (B, 1, H, W), at the mip level that fits the spacing of neighbours."""
    x, y = u * pyramid.size[0], v * pyramid.size[1]
    level = _level_of_detail(x, y)
    lower = level.floor().clamp(max=LEVELS - 2)
    first, second = look_up(pyramid, x, y, lower), look_up(pyramid, x, y, lower + 1)
    return torch.lerp(first, second, (level - lower)[:, None])


def _level_of_detail(x: Tensor, y: Tensor) -> Tensor:
    """(B, H, W) log2 of the texels a pixel covers, from the smaller one-sided step: silhouettes stay sharp."""
    spread = _smaller_step(x, y, 2) + _smaller_step(x, y, 1)
    return (0.5 * torch.log2((spread / 2).clamp(min=1.0))).clamp(max=LEVELS - 1.0)


def _smaller_step(x: Tensor, y: Tensor, dim: int) -> Tensor:
    step = x.diff(dim=dim).square() + y.diff(dim=dim).square()
    first, last = step.narrow(dim, 0, 1), step.narrow(dim, step.shape[dim] - 1, 1)
    return torch.minimum(torch.cat((first, step), dim=dim), torch.cat((step, last), dim=dim))


def look_up(
    pyramid: Pyramid, x: Tensor, y: Tensor, level: Tensor, tile: Tensor | None = None, tiles: int = 1
) -> Tensor:
    """Level `level` (whole numbers) at texels x, y of level 0, all (B, H, W); never beyond that level's own border.

    Where `tiles` atlases stand below one another, `tile` (B, H, W) says which one is meant.
    """
    width, height = pyramid.size
    scale = torch.exp2(-level)
    right = (level > 0).float()
    inside_x = torch.minimum((x * scale).clamp(min=0.5), width * scale - 0.5)
    inside_y = torch.minimum((y * scale).clamp(min=0.5), height * scale - 0.5)
    atlas_x = (inside_x + right * width) * (2 / (1.5 * width)) - 1
    atlas_y = inside_y + right * (1 - 2 * scale) * height
    if tile is not None:
        atlas_y = atlas_y + tile * height
    grid = torch.stack((atlas_x, atlas_y * (2 / (tiles * height)) - 1), dim=-1)
    return F.grid_sample(pyramid.atlas, grid, mode="bilinear", padding_mode="border", align_corners=False)


def backgrounds(photos: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(B, 1, H, W) background beyond the photo: another photo of the batch, noise, or one grey.

    Each call places it differently, so the two views of a pair never agree there.
    """
    count = len(photos)
    device = photos.device
    noise = noise_octaves(count, size, generator)
    grey = uniform(generator, (count, 1, 1, 1)).expand(-1, -1, *size)
    share = uniform(generator, (count, 1, 1, 1)) * chance(generator, (count, 1, 1, 1), 0.5)
    flat = torch.lerp(grey, noise, share).to(device)
    if count == 1:
        return flat
    step = int(torch.randint(1, count, (1,), generator=generator, device=generator.device))
    angle, zoom = uniform(generator, (count,), -math.pi, math.pi), uniform(generator, (count,), 0.3, 0.7)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    shift = uniform(generator, (2, count), -0.3, 0.3)
    rows = torch.stack((cos, -sin, shift[0], sin, cos, shift[1]), dim=-1).view(count, 2, 3).to(device)
    grid = F.affine_grid(rows, [count, 1, *size], align_corners=False)
    other = F.grid_sample(photos.roll(step, 0), grid, padding_mode="border", align_corners=False)
    return torch.where(chance(generator, (count, 1, 1, 1), 0.5).to(device), other, flat)
