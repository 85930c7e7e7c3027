"""Textures from random numbers alone: bricks, windows, tiles, noise and blobs, for scenes that need no photo."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import chance, uniform


def noise_octaves(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(count, 1, h, w) in [0, 1]: value noise summed over octaves, each image with its own roughness and range."""
    roughness = uniform(generator, (count, 1, 1, 1), 0.45, 0.8)
    cells = 4
    total = torch.zeros(count, 1, 1, 1, device=generator.device)
    weight = torch.ones_like(roughness)
    while cells <= max(size):
        grid = tuple(max(2, round(cells * side / max(size))) for side in size)
        coarse = F.interpolate(total, size=grid, mode="bicubic", align_corners=False)
        total = coarse + weight * uniform(generator, (count, 1, *grid), -1.0, 1.0)
        weight = weight * roughness
        cells *= 2
    total = F.interpolate(total, size=size, mode="bicubic", align_corners=False)
    low, high = total.amin(dim=(2, 3), keepdim=True), total.amax(dim=(2, 3), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-6)


def procedural_textures(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(count, 1, h, w) grey in [0, 1] on the generator's device; the kinds take turns, starting with facades."""
    makers = (_windows, _bricks, _tiles, _blobs)
    made = [makers[k % len(makers)](size, generator) for k in range(count)]
    base = torch.cat(made) if made else torch.zeros(0, 1, *size, device=generator.device)
    if count == 0:
        return base
    dirt = noise_octaves(count, size, generator) - 0.5
    grain = torch.randn((count, 1, *size), generator=generator, device=generator.device) * 0.02
    strength = uniform(generator, (count, 1, 1, 1), 0.25, 0.6)
    return (base + strength * dirt + grain).clamp(0, 1)


def _axes(size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """y (h, 1) and x (1, w) with the longer side spanning one unit."""
    longest = max(size)
    y = torch.arange(size[0], device=generator.device, dtype=torch.float32)[:, None] / longest
    x = torch.arange(size[1], device=generator.device, dtype=torch.float32)[None, :] / longest
    return y, x


def _one(generator: torch.Generator, low: float, high: float) -> float:
    return float(uniform(generator, (1,), low, high))


def _cell_values(column: Tensor, row: Tensor, generator: torch.Generator, spread: float) -> Tensor:
    """A random value in [-spread, spread] for each cell (row, column), looked up at every pixel; indices broadcast."""
    row, column = (row - row.min()).long(), (column - column.min()).long()
    table = uniform(generator, (int(row.max()) + 1, int(column.max()) + 1), -spread, spread)
    return table[row, column]


def _bricks(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    y, x = _axes(size, generator)
    high = 1 / _one(generator, 12, 40)
    wide = high * _one(generator, 1.8, 3.2)
    joint = _one(generator, 0.06, 0.16)
    row = (y / high).floor()
    along = x / wide + 0.5 * (row % 2)
    column = along.floor()
    off_y, off_x = y / high - row, along - column
    mortar = (off_y < joint) | (off_x < joint * high / wide)
    body = _one(generator, 0.25, 0.7) + _cell_values(column, row, generator, 0.18)
    return torch.where(mortar, torch.full_like(body, _one(generator, 0.1, 0.95)), body).expand(size)[None, None]


def _tiles(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    y, x = _axes(size, generator)
    angle = _one(generator, -math.pi / 4, math.pi / 4) if _one(generator, 0, 1) < 0.5 else 0.0
    a, b = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
    step = 1 / _one(generator, 6, 20)
    column, row = (a / step).floor(), (b / step).floor()
    off = torch.maximum((a / step - column - 0.5).abs(), (b / step - row - 0.5).abs())
    checker = ((column + row) % 2) * _one(generator, 0.0, 0.5)
    body = _one(generator, 0.2, 0.5) + checker + _cell_values(column, row, generator, 0.15)
    joint = torch.full_like(body, _one(generator, 0.0, 1.0))
    return torch.where(off > 0.5 - _one(generator, 0.02, 0.06), joint, body)[None, None]


def _windows(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A facade: equal windows in rows and columns, each with its own glass, blinds and now and then a missing frame."""
    y, x = _axes(size, generator)
    high = 1 / _one(generator, 3, 8)
    wide = high * _one(generator, 0.6, 1.4)
    row, column = (y / high).floor(), (x / wide).floor()
    off_y, off_x = y / high - row - 0.5, x / wide - column - 0.5
    half_y, half_x = _one(generator, 0.22, 0.38), _one(generator, 0.18, 0.36)
    edge = torch.maximum(off_y.abs() / half_y, off_x.abs() / half_x)
    glass = _one(generator, 0.05, 0.4) + _cell_values(column, row, generator, 0.2) + 0.15 * off_y
    blind = off_y < half_y * (_cell_values(column, row, generator, 1.0) - 0.4)
    glass = torch.where(blind, glass + 0.35, glass)
    bars = (off_x.abs() < 0.02) | ((off_y - 0.3 * half_y).abs() < 0.015)
    frame = _one(generator, 0.5, 1.0)
    pane = torch.where(bars, torch.full_like(glass, frame), glass)
    wall = torch.full_like(glass, _one(generator, 0.3, 0.8)) + 0.08 * ((off_y + 0.5) < 0.06)
    surface = torch.where(edge < 1.18, torch.full_like(glass, frame), wall)
    return torch.where(edge < 1.0, pane, surface)[None, None]


def _blobs(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Soft and hard ellipses over one another."""
    y, x = _axes(size, generator)
    image = torch.full(size, _one(generator, 0.2, 0.8), device=generator.device)
    count = 60
    centre = uniform(generator, (count, 2)).cpu() * torch.tensor((size[0], size[1])) / max(size)
    radius = torch.exp(uniform(generator, (count, 2), math.log(0.01), math.log(0.12))).cpu()
    shade, angle = uniform(generator, (count,)).cpu(), uniform(generator, (count,), 0.0, math.pi).cpu()
    hard = chance(generator, (count,), 0.5).cpu()
    for k in range(count):
        dy, dx = y - float(centre[k, 0]), x - float(centre[k, 1])
        cos, sin = math.cos(float(angle[k])), math.sin(float(angle[k]))
        a = (dx * cos + dy * sin) / float(radius[k, 0])
        b = (dy * cos - dx * sin) / float(radius[k, 1])
        sharpness = 20.0 if hard[k] else 3.0
        cover = torch.sigmoid(sharpness * (1 - (a * a + b * b)))
        image = torch.lerp(image, torch.full_like(image, float(shade[k])), cover)
    return image[None, None]
