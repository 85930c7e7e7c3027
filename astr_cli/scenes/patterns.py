"""Tiles made from a few numbers each: bricks, slabs, boards, plaster, window panes, noise; batched, on any device.

Random numbers come from the generator's device and are few; pixels are computed on `device`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from astr_cli.scenes.geometry import uniform

PANES = 2  # tiles of one scene's windows: most have the first, some the second


def noise(
    count: int,
    side: int,
    generator: torch.Generator,
    device: torch.device,
    finest: int = 64,
    roughness: tuple[float, float] = (0.5, 0.95),
) -> Tensor:
    """(count, 1, side, side) in [0, 1]: octaves of 4 to `finest` cells, each so much weaker than the one before."""
    weaker = uniform(generator, (count, 1, 1, 1), *roughness).to(device)
    total, weight, cells = torch.zeros(count, 1, 4, 4, device=device), torch.ones(1, device=device), 4
    while cells <= min(finest, side):
        coarse = F.interpolate(total, size=(cells, cells), mode="bicubic", align_corners=False)
        total = coarse + weight * uniform(generator, (count, 1, cells, cells), -1.0, 1.0).to(device)
        weight = weight * weaker
        cells *= 2
    smooth = "bicubic" if cells < side // 4 else "bilinear"
    total = F.interpolate(total, size=(side, side), mode=smooth, align_corners=False)
    low, high = total.amin(dim=(2, 3), keepdim=True), total.amax(dim=(2, 3), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-6)


def coverings(count: int, side: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count, 1, side, side): surfaces of walls and floors, around 0.5; one call makes one kind."""
    kind = float(uniform(generator, (1,)))
    texture = noise(count, side, generator, device)[:, 0] - 0.5
    x, y = _axes(side, device)
    if kind < 0.2:
        return (0.5 + 0.7 * texture).clamp(0, 1)[:, None]
    make = _bricks if kind < 0.5 else _slabs if kind < 0.75 else _boards
    return (make(count, x, y, generator, device) + 0.18 * texture).clamp(0, 1)[:, None]


def panes(count: int, side: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """(count, PANES, side, side): a window of each scene twice, with other blinds: frame, bars, glass."""
    x, y = _axes(side, device)
    draw = uniform(generator, (12, count, 1, 1)).to(device)
    frame = 0.03 + 0.07 * draw[0]
    bars = torch.full_like(draw[0] * x * y, math.inf)
    for axis, number in ((x, (draw[1] * 3).floor()), (y, (draw[2] * 3.5).floor())):
        place = axis * (number + 1)
        nearest = (place - place.round()).abs() / (number + 1)
        edge = torch.minimum(place, number + 1 - place) < 0.5
        bars = torch.minimum(bars, nearest.masked_fill(edge, math.inf))
    bars = torch.minimum(bars - 0.5 * frame, torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y)) - frame)
    is_frame = torch.sigmoid(-bars * side * 1.5)
    made = []
    for _ in range(PANES):
        look = uniform(generator, (8, count, 1, 1)).to(device)
        shine = 0.12 * torch.sin(6 * ((x * look[0] + y) * (1 + 2 * look[1]) + look[2]))
        glass = 0.05 + 0.35 * draw[3] + 0.25 * (draw[4] - 0.3) * (1 - y) + shine * draw[5]
        glass = glass + 0.1 * torch.sin(7 * look[7] + 9 * x * draw[6] + 4 * torch.sin(5 * y + 6 * look[6]))
        slats = 0.75 + 0.25 * (torch.sin(y * (30 + 60 * look[3])) > 0) * (look[4] < 0.5)
        blind = torch.sigmoid((look[5] * 1.3 - 0.4 - y) * side) * slats
        folds = 0.5 + 0.1 * torch.sin(x * (25 + 20 * look[6]))
        curtain = (torch.sigmoid((0.3 * draw[7] - torch.minimum(x, 1 - x)) * side)) * (draw[8] < 0.4)
        glass = torch.lerp(glass, (0.45 + 0.4 * draw[9]).expand_as(glass), blind)
        glass = torch.lerp(glass, folds.expand_as(glass), curtain)
        made.append(torch.lerp(glass, (0.15 + 0.85 * draw[10]).expand_as(glass), is_frame))
    return torch.stack(made, dim=1).clamp(0, 1)


def _axes(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """x (1, 1, side) and y (1, side, 1): pixel centres from 0 to 1."""
    line = (torch.arange(side, dtype=torch.float32, device=device) + 0.5) / side
    return line.view(1, 1, -1), line.view(1, -1, 1)


def _one_each(row: Tensor, column: Tensor, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """A random value in [-1, 1] for each brick or slab."""
    table = uniform(generator, (count, 1024), -1.0, 1.0).to(device)
    index = (row * 37 + column).long() % 1024
    return table.gather(1, index.flatten(1)).view_as(index)


def _bricks(count: int, x: Tensor, y: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    draw = uniform(generator, (5, count, 1, 1)).to(device)
    rows, columns = 2 * (3 + 4 * draw[0]).floor(), (3 + 3 * draw[1]).floor()
    row = (y * rows).floor() + 0 * x
    along = x * columns + 0.5 * (row % 2)
    column = along.floor()
    joint = 0.06 + 0.1 * draw[2]
    off_y, off_x = y * rows - row, (along - column) * rows / columns
    body = 0.5 + 0.2 * _one_each(row, column % columns, count, generator, device) * draw[3]
    mortar = ((off_y < joint) | (off_x < joint)).float()
    return torch.lerp(body, (0.05 + 0.9 * draw[4]).expand_as(body), mortar)


def _slabs(count: int, x: Tensor, y: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    draw = uniform(generator, (6, count, 1, 1)).to(device)
    rows, columns = (2 + 5 * draw[0]).floor(), (2 + 5 * draw[1]).floor()
    row, column = (y * rows).floor() + 0 * x, (x * columns).floor() + 0 * y
    off_y, off_x = y * rows - row, (x * columns - column) * rows / columns
    joint = 0.03 + 0.06 * draw[2]
    checker = ((row + column) % 2 - 0.5) * 0.5 * draw[3] * (draw[3] > 0.5)
    body = 0.5 + checker + 0.12 * _one_each(row, column, count, generator, device) * draw[4]
    line = ((off_y < joint) | (off_x < joint)).float()
    return torch.lerp(body, draw[5].expand_as(body), line)


def _boards(count: int, x: Tensor, y: Tensor, generator: torch.Generator, device: torch.device) -> Tensor:
    draw = uniform(generator, (5, count, 1, 1)).to(device)
    upright = (draw[0] < 0.5).float()
    across, along = torch.lerp(y + 0 * x, x + 0 * y, upright), torch.lerp(x + 0 * y, y + 0 * x, upright)
    number = (4 + 8 * draw[1]).floor()
    board = (across * number).floor()
    off = across * number - board
    streak = torch.sin(across * 140 + 5 * torch.sin(along * 7 + board * 1.7)) * 0.06
    body = (
        0.5
        + 0.15 * _one_each(board, 0 * board, count, generator, device)
        + streak * draw[2]
        + 0.2 * (off - 0.5) * draw[3]
    )
    return torch.lerp(body, (0.1 + 0.3 * draw[4]).expand_as(body), (off < 0.07).float())
