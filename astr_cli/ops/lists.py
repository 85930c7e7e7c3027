"""Which keys each query may see, in the three forms that the operator takes (docs/model.md, Sparse attention)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class KeyLists(NamedTuple):
    """Key lists of B x Nq queries: a table, CSR rows, or windows of a grid.

    A key that a table or a row names twice counts twice, as in the paper's sum over pairs; windows are a set union.
    """

    cells: Tensor  # table (B, Nq, M), indices (L,), or centres of windows (B, Nq, S); below 0 = none
    offsets: Tensor | None = (
        None  # (B * Nq + 1,), only beside indices: row b * Nq + q is cells[offsets[r] : offsets[r + 1]]
    )
    window: Sequence[int] = ()  # (height, width, side), only beside centres
    key_mask: Tensor | None = None  # (B, Nk) bool, only beside centres; False = invisible

    def check_values(self, keys: int) -> None:
        """Raise ValueError unless indices and offsets are in range. Not on a GPU, where the check would cost a wait."""
        if self.cells.device.type != "cpu" or self.window:
            return
        if self.cells.numel() and int(self.cells.max()) >= keys:
            raise ValueError(f"expected key indices below {keys}, got {int(self.cells.max())}")
        if self.offsets is not None:
            ends = int(self.offsets[0]), int(self.offsets[-1])
            if ends != (0, len(self.cells)) or bool((self.offsets.diff() < 0).any()):
                raise ValueError(f"expected offsets rising from 0 to {len(self.cells)}, got {ends[0]} to {ends[1]}")

    def counts(self, batch: slice, rows: slice, queries: int, keys: int) -> Tensor:
        """How often each query of a piece sees each key: (b, r, keys), bool for windows, else int32.

        `batch` and `rows` have their ends given, inside of (B, `queries`).
        """
        if self.window:
            height, width, side = self.window
            visible = spot_mask(self.cells[batch, rows], (height, width), side)
            return visible if self.key_mask is None else visible & self.key_mask[batch, None]
        shape = (batch.stop - batch.start, rows.stop - rows.start)
        if self.offsets is None:
            cells = self.cells[batch, rows].flatten(0, 1).long()
            row = torch.arange(len(cells), device=cells.device)[:, None].expand_as(cells)
            kept = cells >= 0
        else:
            pair = torch.arange(len(self.cells), device=self.cells.device)
            owner = torch.searchsorted(self.offsets.long(), pair, right=True) - 1
            item, query = owner // queries - batch.start, owner % queries - rows.start
            cells, row = self.cells.long(), item * shape[1] + query
            kept = (cells >= 0) & (item >= 0) & (item < shape[0]) & (query >= 0) & (query < shape[1])
        # Keys that do not count go to one place behind all others: no data-dependent shapes.
        dump = shape[0] * shape[1] * keys
        place = torch.where(kept, row * keys + cells, dump).flatten()
        found = torch.zeros(dump + 1, dtype=torch.int32, device=cells.device)
        found.index_add_(0, place, torch.ones_like(place, dtype=torch.int32))
        return found[:-1].view(*shape, keys)


def spot_mask(centres: Tensor, grid: tuple[int, int], window: int) -> Tensor:
    """Which keys each query may see: (B, Nq, S) centres -> (B, Nq, Nk) bool, the union of the windows."""
    height, width = grid
    reach = torch.arange(window, device=centres.device) - window // 2
    rows = (centres // width)[..., None] + reach  # (B, Nq, S, window)
    columns = (centres % width)[..., None] + reach
    inside_rows = (rows >= 0) & (rows < height) & (centres >= 0)[..., None]
    inside_columns = (columns >= 0) & (columns < width)
    cells = rows[..., :, None] * width + columns[..., None, :]
    inside = inside_rows[..., :, None] & inside_columns[..., None, :]
    # Outsiders go to one extra column that is cut off afterwards: no data-dependent shapes.
    cells = torch.where(inside, cells, height * width).flatten(2).long()
    visible = torch.zeros(*centres.shape[:2], height * width + 1, dtype=torch.bool, device=centres.device)
    return visible.scatter_(2, cells, True)[..., :-1]
