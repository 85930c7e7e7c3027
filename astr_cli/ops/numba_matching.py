"""The streaming dual softmax on a CPU: torch's matrix products, and the loops of `numba_kernels` on each tile.

Shapes as in `torch_matching`; float32. The tiles do not depend on the batch, and so neither does a pair's result.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops import numba_kernels as kernels
from astr_cli.ops.numba_kernels import Array
from astr_cli.ops.threads import LoopRange, over, workers
from astr_cli.ops.torch_matching import floored, tiles

SCORES = 1 << 22  # of a tile: 16 MiB. With many small ones threads wait for each other more than they work
ROWS, COLUMNS = 64, 1024  # of one piece of work


def sums(features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of every row (B, N0) and of every column (B, N1)."""
    rows = torch.empty(features0.shape[:2])
    most = torch.full(features1.shape[:2], -torch.inf)
    total = torch.zeros(features1.shape[:2])
    with workers() as pool:
        for item, chunk, tile in _tiles(features0, features1, mask0, mask1):
            running = (most[item].numpy(), total[item].numpy())
            by_row = LoopRange(tile.shape[0], ROWS, kernels.row_sums, (tile, rows[item, chunk].numpy()))
            over(pool, by_row, LoopRange(tile.shape[1], COLUMNS, kernels.column_sums, (tile, *running)))
    return floored(rows), floored(total.log_() + most)


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
    """Gradients of features0 and features1 through `sums`.

    In training a cell in four has a gradient, or fewer: only those rows of the matrix count, and those columns.
    """
    grad0, grad1 = torch.zeros(features0.shape), torch.zeros(features1.shape)
    with workers() as pool:
        for item in range(features0.shape[0]):
            side0 = _side(item, features0, mask0, rows, grad_rows)
            side1 = _side(item, features1, mask1, columns, grad_columns)
            asked0, asked1 = side0.grad != 0, side1.grad != 0
            for cells0, cells1 in ((asked0, torch.ones_like(asked1)), (~asked0, asked1)):
                part0, part1 = _part_backward(pool, side0.at(cells0), side1.at(cells1))
                grad0[item, cells0] += part0
                grad1[item, cells1] += part1
    return grad0, grad1


def best(
    features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each row's best column (B, N0) int64 and its log P, each column's best row (B, N1) and its log P."""
    cells0, log_p0 = torch.empty(rows.shape, dtype=torch.int32), torch.empty(rows.shape)
    cells1, log_p1 = torch.zeros(columns.shape, dtype=torch.int32), torch.full(columns.shape, -torch.inf)
    with workers() as pool:
        for item, chunk, tile in _tiles(features0, features1, mask0, mask1):
            sums = (rows[item, chunk].numpy(), columns[item].numpy())
            found0 = (cells0[item, chunk].numpy(), log_p0[item, chunk].numpy())
            found1 = (cells1[item].numpy(), log_p1[item].numpy())
            by_row = LoopRange(tile.shape[0], ROWS, kernels.best_of_rows, (tile, *sums, *found0))
            by_column = (chunk.start, tile, *sums, *found1)
            over(pool, by_row, LoopRange(tile.shape[1], COLUMNS, kernels.best_of_columns, by_column))
    return cells0.long(), log_p0, cells1.long(), log_p1


class _Side(NamedTuple):
    """Cells of one image of one pair."""

    features: Tensor  # (N, C)
    mask: Tensor | None  # (N,)
    sums: Tensor  # (N,)
    grad: Tensor  # (N,) of the sums

    def at(self, cells: Tensor) -> "_Side":
        """The cells that a bool (N,) chooses."""
        mask = None if self.mask is None else self.mask[cells]
        return _Side(self.features[cells], mask, self.sums[cells], self.grad[cells])


def _side(item: int, features: Tensor, mask: Tensor | None, sums: Tensor, grad: Tensor) -> _Side:
    return _Side(features[item].detach(), None if mask is None else mask[item], sums[item], grad[item])


def _part_backward(pool: Executor | None, side0: _Side, side1: _Side) -> tuple[Tensor, Tensor]:
    """Gradients (N, C) of both sides' features by the matrix of these cells."""
    grad0, grad1 = torch.empty(side0.features.shape), torch.zeros(side1.features.shape)
    mask0, mask1 = (None if mask is None else mask[None] for mask in (side0.mask, side1.mask))
    for chunk, tile in tiles(side0.features[None], side1.features[None], mask0, mask1, SCORES):
        slope = tile[0]
        parts = (side0.sums[chunk], side1.sums, side0.grad[chunk], side1.grad)
        over(pool, LoopRange(len(slope), ROWS, kernels.slopes, (slope.numpy(), *(part.numpy() for part in parts))))
        torch.mm(slope, side1.features, out=grad0[chunk])
        grad1.addmm_(slope.T, side0.features[chunk])
    return grad0, grad1


def _tiles(
    features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None
) -> Iterator[tuple[int, slice, Array]]:
    """(batch item, rows, (r, N1) float32) of `tiles`."""
    for item in range(features0.shape[0]):
        one = slice(item, item + 1)
        first, second = (None if mask is None else mask[one] for mask in (mask0, mask1))
        for rows, tile in tiles(features0[one].detach(), features1[one].detach(), first, second, SCORES):
            yield item, rows, tile[0].numpy()
