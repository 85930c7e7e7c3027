"""Dual softmax of two images' features: exact, and never with all of its N0 x N1 matrix in memory.

NOTE supplement 1 sets entries of unrelated pixels to 0 in the spot layers (docs/model.md, Matching matrix).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops.registration import best_matches, score_sums
from astr_cli.ops.torch_matching import IMPOSSIBLE, tiles


class BestMatches(NamedTuple):
    """Each cell's best partner: its cell and the log probability of the match (-inf or near it: none)."""

    cells: Tensor  # (B, N) int64
    log_p: Tensor  # (B, N) float32


@dataclass(frozen=True, eq=False)
class DualSoftmax:
    """P(i, j) = softmax over j times softmax over i of the scores (LoFTR's dual softmax), in the log.

    log P(i, j) = 2 s(i, j) - rows(i) - columns(j), where the scores s are features0 . features1, IMPOSSIBLE where a
    masked cell takes part. Each user computes them again, some rows at a time.
    """

    features0: Tensor  # (B, N0, C) float32
    features1: Tensor  # (B, N1, C) float32
    rows: Tensor  # (B, N0) log-sum-exp of each row
    columns: Tensor  # (B, N1) log-sum-exp of each column
    mask0: Tensor | None = None  # (B, N0) bool, True = valid
    mask1: Tensor | None = None  # (B, N1) bool

    @torch.no_grad()
    def log_p(self) -> Tensor:
        """All of log P, (B, N0, N1), for inspection; carries no gradient. Masked entries are far below any float's
        logarithm."""
        parts = [tile.clone() for _, tile in tiles(self.features0, self.features1, self.mask0, self.mask1)]
        return torch.cat(parts, dim=1).mul_(2).sub_(self.rows[:, :, None]).sub_(self.columns[:, None])

    def at(self, batch: Tensor, cells0: Tensor, cells1: Tensor) -> Tensor:
        """log P at given entries (G,), with gradient."""
        scores = (self.features0[batch, cells0] * self.features1[batch, cells1]).sum(dim=1)
        for mask, cells in ((self.mask0, cells0), (self.mask1, cells1)):
            if mask is not None:
                scores = scores.masked_fill(~mask[batch, cells], IMPOSSIBLE)
        return 2 * scores - self.rows[batch, cells0] - self.columns[batch, cells1]

    def best(self) -> tuple[BestMatches, BestMatches]:
        """Best partners of image0's cells and of image1's; the first of equals. Computed once."""
        return self._best

    @cached_property
    def _best(self) -> tuple[BestMatches, BestMatches]:
        parts = (self.features0, self.features1, self.mask0, self.mask1, self.rows, self.columns)
        with torch.no_grad():
            cells0, log_p0, cells1, log_p1 = best_matches(*(None if x is None else x.detach() for x in parts))
        return BestMatches(cells0, log_p0), BestMatches(cells1, log_p1)

    def of(self, pairs: list[int]) -> "DualSoftmax":
        """The same of some pairs of the batch."""
        mask0, mask1 = (None if mask is None else mask[pairs] for mask in (self.mask0, self.mask1))
        return DualSoftmax(
            self.features0[pairs], self.features1[pairs], self.rows[pairs], self.columns[pairs], mask0, mask1
        )

    def mutual(self) -> Tensor:
        """(B, N0) bool: cells of image0 whose best partner has them as its best one; the mutual nearest neighbours."""
        best0, best1 = self.best()
        own = torch.arange(best0.cells.shape[1], device=best0.cells.device)
        return best1.cells.gather(1, best0.cells) == own


def dual_softmax(
    features0: Tensor, features1: Tensor, scale: Tensor, mask0: Tensor | None = None, mask1: Tensor | None = None
) -> DualSoftmax:
    """Matching matrix of features0 (B, N0, C) and features1 (B, N1, C): scores are scale * f0 . f1, in float32.

    mask0 (B, N0) and mask1 (B, N1) bool, True = valid. Memory grows with N0 + N1. Raises ValueError on shapes that do
    not fit. Exact twin: `astr_cli.ops.reference.dense_log_dual_softmax`.
    """
    if features0.ndim != 3 or features1.ndim != 3 or features0.shape[::2] != features1.shape[::2]:
        raise ValueError(
            f"expected features (B, N0, C) and (B, N1, C), got {tuple(features0.shape)} and {tuple(features1.shape)}"
        )
    for mask, features in ((mask0, features0), (mask1, features1)):
        if mask is not None and (mask.shape != features.shape[:2] or mask.dtype != torch.bool):
            raise ValueError(f"expected a bool mask {tuple(features.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}")
    root = scale.float().sqrt()
    first, second = features0.float() * root, features1.float() * root
    rows, columns = score_sums(first, second, mask0, mask1)
    return DualSoftmax(first, second, rows, columns, mask0, mask1)
