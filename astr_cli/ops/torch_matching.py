"""The streaming dual softmax in plain torch: a tile of rows of the score matrix at a time, made again when needed.

Features (B, N, C) have the scale folded in, so scores are f0 . f1. Masks (B, N) bool, True = valid, or None.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

# Stands for "impossible" inside log-sum-exp, where -inf would turn rows without any valid cell into NaN.
IMPOSSIBLE = -1e9
# Of a tile: what a CPU's caches hold, and what keeps a GPU busy (128 MiB in float32).
CPU_SCORES, GPU_SCORES = 1 << 20, 1 << 25


def tiles(
    features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None, size: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the score matrix, (rows, (B, r, N1)), IMPOSSIBLE where a masked cell takes part; of about `size` numbers.

    A tile is good until the next one.
    """
    batch, count0, _ = features0.shape
    count1 = features1.shape[1]
    size = size or (CPU_SCORES if features0.device.type == "cpu" else GPU_SCORES)
    chunk = min(max(16, size // max(1, batch * count1)), max(1, count0))
    buffer = features0.new_empty(batch * chunk * count1)
    columns = features1.transpose(1, 2)
    for start in range(0, count0, chunk):
        rows = slice(start, min(start + chunk, count0))
        held = buffer[: batch * (rows.stop - start) * count1].view(batch, rows.stop - start, count1)
        tile = torch.bmm(features0[:, rows], columns, out=held)
        if mask0 is not None:
            tile.masked_fill_(~mask0[:, rows, None], IMPOSSIBLE)
        if mask1 is not None:
            tile.masked_fill_(~mask1[:, None, :], IMPOSSIBLE)
        yield rows, tile


def sums(features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of every row (B, N0) and of every column (B, N1)."""
    rows = features0.new_empty(features0.shape[:2])
    most = features1.new_full(features1.shape[:2], -torch.inf)
    total = torch.zeros_like(most)
    for chunk, tile in tiles(features0, features1, mask0, mask1):
        peak = tile.amax(dim=2, keepdim=True)
        rows[:, chunk] = (tile - peak).exp_().sum(dim=2).log_().add_(peak[..., 0])
        higher = torch.maximum(most, tile.amax(dim=1))
        total = total * (most - higher).exp_() + tile.sub_(higher[:, None]).exp_().sum(dim=1)
        most = higher
    return floored(rows), floored(total.log_() + most)


def floored(sums: Tensor) -> Tensor:
    """Keeps log P of two masked cells impossible: their own log-sum-exps would cancel their scores."""
    return sums.clamp_(min=IMPOSSIBLE / 2)


def sums_backward(
    grad_rows: Tensor,
    grad_columns: Tensor,
    features0: Tensor,
    features1: Tensor,
    mask0: Tensor | None,
    mask1: Tensor | None,
    rows: Tensor,
    columns: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of features0 and features1 through `sums`."""
    grad0, grad1 = torch.empty_like(features0), torch.zeros_like(features1)
    for chunk, tile in tiles(features0, features1, mask0, mask1):
        slope = (tile - rows[:, chunk, None]).exp_().mul_(grad_rows[:, chunk, None])
        slope += tile.sub_(columns[:, None]).exp_().mul_(grad_columns[:, None])
        grad0[:, chunk] = slope @ features1
        grad1.baddbmm_(slope.transpose(1, 2), features0[:, chunk])
    return grad0, grad1


def best(
    features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each row's best column (B, N0) int64 and its log P, each column's best row (B, N1) and its log P."""
    cells0 = torch.empty(rows.shape, dtype=torch.int64, device=rows.device)
    log_p0 = torch.empty_like(rows)
    cells1 = torch.zeros(columns.shape, dtype=torch.int64, device=rows.device)
    log_p1 = torch.full_like(columns, -torch.inf)
    for chunk, tile in tiles(features0, features1, mask0, mask1):
        log_p = tile.mul_(2).sub_(rows[:, chunk, None]).sub_(columns[:, None])
        log_p0[:, chunk], cells0[:, chunk] = log_p.max(dim=2)
        values, places = log_p.max(dim=1)
        better = values > log_p1
        log_p1 = torch.where(better, values, log_p1)
        cells1 = torch.where(better, places + chunk.start, cells1)
    return cells0, log_p0, cells1, log_p1
