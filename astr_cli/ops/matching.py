"""Dual softmax of two images' features, kept as scores and log-sum-exps: the probabilities are formed where needed."""

from typing import NamedTuple

import torch
from torch import Tensor

# Stands for "impossible" inside log-sum-exp, where -inf would turn rows without any valid cell into NaN.
IMPOSSIBLE = -1e9
ROWS = 256  # of log P formed at a time: few enough to stay in a CPU's cache


class BestMatches(NamedTuple):
    """Each cell's best partner: its cell and the log probability of the match (-inf or near it: none)."""

    cells: Tensor  # (B, N) int64
    log_p: Tensor  # (B, N) float32


class DualSoftmax(NamedTuple):
    """P(i, j) = softmax over j times softmax over i of the scores (LoFTR's dual softmax), in the log.

    log P(i, j) = 2 scores(i, j) - rows(i) - columns(j).
    """

    scores: Tensor  # (B, N0, N1) float32, IMPOSSIBLE where a masked cell takes part
    rows: Tensor  # (B, N0) log-sum-exp of each row
    columns: Tensor  # (B, N1) log-sum-exp of each column

    def log_p(self) -> Tensor:
        """All of log P, (B, N0, N1); carries no gradient. Masked entries are far below any float's logarithm."""
        with torch.no_grad():
            return torch.mul(self.scores, 2).sub_(self.rows[:, :, None]).sub_(self.columns[:, None, :])

    def at(self, batch: Tensor, cells0: Tensor, cells1: Tensor) -> Tensor:
        """log P at given entries (G,), with gradient."""
        scores = self.scores[batch, cells0, cells1]
        return 2 * scores - self.rows[batch, cells0] - self.columns[batch, cells1]

    @torch.no_grad()
    def best(self) -> tuple[BestMatches, BestMatches]:
        """Best partners of image0's cells and of image1's, without ever holding all of log P."""
        cells0, values0 = [], []
        values1 = torch.full_like(self.columns, -torch.inf)
        cells1 = torch.zeros(values1.shape, dtype=torch.int64, device=values1.device)
        for start in range(0, self.scores.shape[1], ROWS):
            chunk = slice(start, start + ROWS)
            log_p = torch.mul(self.scores[:, chunk], 2).sub_(self.rows[:, chunk, None]).sub_(self.columns[:, None, :])
            row, column = log_p.max(dim=2), log_p.max(dim=1)
            cells0.append(row.indices)
            values0.append(row.values)
            better = column.values > values1
            values1 = torch.where(better, column.values, values1)
            cells1 = torch.where(better, column.indices + start, cells1)
        return BestMatches(torch.cat(cells0, dim=1), torch.cat(values0, dim=1)), BestMatches(cells1, values1)


def dual_softmax(
    features0: Tensor, features1: Tensor, scale: Tensor, mask0: Tensor | None = None, mask1: Tensor | None = None
) -> DualSoftmax:
    """Matching matrix of features0 (B, N0, C) and features1 (B, N1, C): scores are scale * f0 . f1, in float32.

    mask0 (B, N0) and mask1 (B, N1) bool, True = valid. Raises ValueError on shapes that do not fit. Exact twin:
    `astr_cli.ops.reference.dense_log_dual_softmax`.
    """
    if features0.ndim != 3 or features1.ndim != 3 or features0.shape[::2] != features1.shape[::2]:
        raise ValueError(
            f"expected features (B, N0, C) and (B, N1, C), got {tuple(features0.shape)} and {tuple(features1.shape)}"
        )
    with torch.autocast(features0.device.type, enabled=False):
        root = scale.sqrt()
        scores = (features0.float() * root) @ (features1.float() * root).transpose(1, 2)
    if mask0 is not None:
        scores = scores.masked_fill(~mask0[:, :, None], IMPOSSIBLE)
    if mask1 is not None:
        scores = scores.masked_fill(~mask1[:, None, :], IMPOSSIBLE)
    # The clamp keeps log P of two masked cells impossible: their own log-sum-exps would cancel their scores.
    rows, columns = (torch.logsumexp(scores, dim=dim).clamp(min=IMPOSSIBLE / 2) for dim in (2, 1))
    return DualSoftmax(scores, rows, columns)
