"""Random height fields over the photo's rectangle: smooth hills, boxes with near-vertical walls, rows of columns."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import chance, uniform

RESOLUTION = 256
WALL = 5.0 / RESOLUTION  # world width of a wall: two and a half cells, or turned walls look like stairs
BOXES = 8


def height_fields(count: int, extents: tuple[float, float], generator: torch.Generator) -> Tensor:
    """(count, 1, R, R) heights in [0, 1] over the rectangle of half `extents`; row 0 is the photo's top edge.

    The rim falls to 0, so no wall stands at the photo's border. Walls are WALL wide.
    """
    x, y = _sample_grid(extents, generator.device)
    smooth = _hills(count, generator)
    solid = torch.maximum(_boxes(count, x, y, generator), _columns(count, x, y, generator))
    draw = uniform(generator, (count, 1, 1), 0.0, 1.0)
    share = torch.where(draw < 0.25, torch.zeros_like(draw), torch.where(draw > 0.75, torch.ones_like(draw), draw))
    both = torch.lerp(smooth, solid, share)
    both = both / both.amax(dim=(1, 2), keepdim=True).clamp(min=1e-3)
    return (both * _rim(generator.device))[:, None]


def _sample_grid(extents: tuple[float, float], device: torch.device) -> tuple[Tensor, Tensor]:
    """x (1, 1, R) and y (1, R, 1) in world units."""
    line = torch.linspace(-1, 1, RESOLUTION, device=device)
    return (line * extents[0]).view(1, 1, -1), (line * extents[1]).view(1, -1, 1)


def _rim(device: torch.device) -> Tensor:
    """(R, R): 1 inside, falling smoothly to 0 at the border."""
    line = torch.linspace(-1, 1, RESOLUTION, device=device)
    fall = ((1 - line.abs()) / 0.12).clamp(0, 1)
    fall = fall * fall * (3 - 2 * fall)
    return fall[:, None] * fall[None, :]


def _hills(count: int, generator: torch.Generator) -> Tensor:
    """(count, R, R) in [0, 1]: three octaves of smooth noise, the finer ones lower."""
    total = torch.zeros(count, 1, RESOLUTION, RESOLUTION, device=generator.device)
    for cells, weight in ((4, 1.0), (8, 0.4), (16, 0.12)):
        grid = uniform(generator, (count, 1, cells, cells))
        total = total + weight * F.interpolate(grid, size=(RESOLUTION, RESOLUTION), mode="bicubic", align_corners=True)
    low, high = total.amin(dim=(2, 3), keepdim=True), total.amax(dim=(2, 3), keepdim=True)
    return ((total - low) / (high - low).clamp(min=1e-6))[:, 0]


def _boxes(count: int, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """(count, R, R): the highest of some turned boxes, each with a flat or sloping top."""
    total = torch.zeros(count, RESOLUTION, RESOLUTION, device=generator.device)
    for _ in range(BOXES):
        draw = uniform(generator, (8, count, 1, 1))
        angle = torch.where(draw[0] < 0.5, torch.zeros_like(draw[0]), draw[1] * math.pi)
        centre_x, centre_y = (draw[2] * 2 - 1) * x.abs().max(), (draw[3] * 2 - 1) * y.abs().max()
        along = (x - centre_x) * angle.cos() + (y - centre_y) * angle.sin()
        across = (y - centre_y) * angle.cos() - (x - centre_x) * angle.sin()
        half_a, half_b = 0.06 + 0.34 * draw[4], 0.06 + 0.34 * draw[5]
        inside = torch.minimum(half_a - along.abs(), half_b - across.abs())
        slope = torch.where(draw[6] < 0.3, along / half_a * 0.4, torch.zeros_like(along))
        top = (0.25 + 0.75 * draw[7]) * (1 + slope)
        total = torch.maximum(total, top * (inside / WALL + 0.5).clamp(0, 1))
    return total.clamp(max=1)


def _columns(count: int, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """(count, R, R): equal blocks in rows and columns, as windows or pilasters; often none."""
    draw = uniform(generator, (7, count, 1, 1))
    step_x, step_y = 0.2 + 0.4 * draw[0], 0.2 + 0.8 * draw[1]
    off_x = ((x / step_x + draw[2]) % 1.0 - 0.5).abs() * step_x
    off_y = ((y / step_y + draw[3]) % 1.0 - 0.5).abs() * step_y
    inside = torch.minimum(step_x * (0.15 + 0.2 * draw[4]) - off_x, step_y * (0.2 + 0.25 * draw[5]) - off_y)
    present = chance(generator, (count, 1, 1), 0.35)
    return present * (0.1 + 0.4 * draw[6]) * (inside / WALL + 0.5).clamp(0, 1)


def light_and_slope(heights: Tensor, extents: tuple[float, float], generator: torch.Generator) -> Tensor:
    """(B, 2, R, R) for heights (B, 1, R, R) in world units: brightness under a far light (flat 1), steepness 0 to 1."""
    count = len(heights)
    cell_y, cell_x = 2 * extents[1] / (RESOLUTION - 1), 2 * extents[0] / (RESOLUTION - 1)
    slope_y, slope_x = torch.gradient(heights, spacing=(cell_y, cell_x), dim=(2, 3))
    draw = uniform(generator, (3, count, 1, 1, 1))
    angle, lean = draw[0] * 2 * math.pi, 0.3 + 0.9 * draw[1]
    length = (1 + slope_x.square() + slope_y.square()).sqrt()
    lit = (1 - lean * (slope_x * angle.cos() + slope_y * angle.sin())) / length
    strength = 0.7 * draw[2]
    brightness = 1 - strength + strength * lit.clamp(0, 1.6)
    return torch.cat((brightness, ((length - 2.5) / 2).clamp(0, 1)), dim=1)
