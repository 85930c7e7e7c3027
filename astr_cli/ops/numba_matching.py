"""The streaming dual softmax on a CPU: torch's matrix products, and the loops of `matching_kernels` on each tile.

Shapes as in `torch_matching`; float32. Tiles are cut alike whatever the batch: a pair's result does not depend on it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from astr_cli.ops import matching_kernels as kernels
from astr_cli.ops.kernels import Array
from astr_cli.ops.threads import over, workers
from astr_cli.ops.torch_matching import floored, tiles

SCORES = 1 << 19  # of a tile: 2 MiB, about what a core has of cache
ROWS, COLUMNS = 16, 1024  # of one piece of work


def sums(features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of every row (B, N0) and of every column (B, N1)."""
    rows = torch.empty(features0.shape[:2])
    most = torch.full(features1.shape[:2], -torch.inf)
    total = torch.zeros(features1.shape[:2])
    with workers() as pool:
        for item, chunk, tile in _tiles(features0, features1, mask0, mask1):
            over(pool, tile.shape[0], ROWS, kernels.row_sums, tile, rows[item, chunk].numpy())
            running = (most[item].numpy(), total[item].numpy())
            over(pool, tile.shape[1], COLUMNS, kernels.column_sums, tile, *running)
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
    """Gradients of features0 and features1 through `sums`."""
    grad0, grad1 = torch.empty(features0.shape), torch.zeros(features1.shape)
    by_row, by_column = grad_rows.contiguous(), grad_columns.contiguous()
    with workers() as pool:
        for item, chunk, tile in _tiles(features0, features1, mask0, mask1):
            parts = (rows[item, chunk], columns[item], by_row[item, chunk], by_column[item])
            over(pool, tile.shape[0], ROWS, kernels.slopes, tile, *(part.numpy() for part in parts))
            slope = torch.from_numpy(tile)
            torch.mm(slope, features1[item], out=grad0[item, chunk])
            grad1[item].addmm_(slope.T, features0[item, chunk])
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
            found = (cells0[item, chunk].numpy(), log_p0[item, chunk].numpy())
            over(pool, tile.shape[0], ROWS, kernels.best_of_rows, tile, *sums, *found)
            found = (cells1[item].numpy(), log_p1[item].numpy())
            over(pool, tile.shape[1], COLUMNS, kernels.best_of_columns, chunk.start, tile, *sums, *found)
    return cells0.long(), log_p0, cells1.long(), log_p1


def _tiles(
    features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None
) -> Iterator[tuple[int, slice, Array]]:
    """(batch item, rows, (r, N1) float32) of `tiles`."""
    for item in range(features0.shape[0]):
        one = slice(item, item + 1)
        first, second = (None if mask is None else mask[one] for mask in (mask0, mask1))
        for rows, tile in tiles(features0[one].detach(), features1[one].detach(), first, second, SCORES):
            yield item, rows, tile[0].numpy()
