"""Normalised positional encoding (supplement 2.2, equations 3 and 4; docs/model.md, Positions)."""

import math

import torch
from torch import Tensor


def positional_encoding(
    channels: int, grid: tuple[int, int], stride: int, train_side: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """The sinusoid of a map of `grid` = (height, width) cells of `stride` pixels, as (1, channels, height, width).

    Positions are in 1/8 cells, so that both levels share one frame: a 1/32 cell x stands at 4 (x + 0.5) - 0.5. They
    are scaled by train_side over the image's own side, per axis. Channels come in fours (sin x, cos x, sin y, cos y).
    """
    height, width = grid
    ys = _axis(height, stride, train_side, device)[:, None, None]
    xs = _axis(width, stride, train_side, device)[None, :, None]
    k = torch.arange(channels // 4, device=device, dtype=torch.float32)
    # NOTE the supplement prints 10000^(-2k/d); LoFTR's corrected code computes this, the same range for k < d/4
    # (docs/model.md, Positions).
    frequency = torch.exp(-math.log(10000.0) * 4 * k / channels)
    x, y = xs * frequency, ys * frequency
    parts = torch.stack(torch.broadcast_tensors(x.sin(), x.cos(), y.sin(), y.cos()), dim=-1)
    return parts.flatten(2).permute(2, 0, 1)[None].to(dtype)


def _axis(cells: int, stride: int, train_side: int, device: torch.device) -> Tensor:
    positions = (torch.arange(cells, device=device, dtype=torch.float32) + 0.5) * (stride / 8) - 0.5
    return positions * (train_side / (cells * stride))
