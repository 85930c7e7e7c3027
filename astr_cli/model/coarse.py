"""Coarse matches: mutual nearest cells of the final matching matrix above a threshold, away from the border (paper
section 3.2; docs/model.md, Coarse matches)."""

from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops.matching import BestMatches


class CoarseMatches(NamedTuple):
    """Coarse matches of one pair, score falling, ties by cell of image0."""

    cells0: Tensor  # (M,) int64, flat cells of image0
    cells1: Tensor  # (M,) int64, flat cells of image1
    scores: Tensor  # (M,) float32, P_c


def coarse_matches(
    best0: BestMatches,  # of image0's cells, (N0,): one pair
    best1: BestMatches,  # of image1's cells, (N1,)
    grid0: tuple[int, int],
    grid1: tuple[int, int],
    threshold: float,
    border: int,
    limit: int | None = None,
) -> CoarseMatches:
    """Mutual nearest neighbours with P_c above `threshold`, `border` cells off either image's edge, the best `limit`.

    grid0 and grid1 are (height, width) in cells.
    """
    partner = best0.cells
    cells0 = torch.arange(len(partner), device=partner.device)
    scores = best0.log_p.exp()
    keep = (best1.cells[partner] == cells0) & (scores > threshold)
    keep &= off_border(grid0, border, partner.device) & off_border(grid1, border, partner.device)[partner]
    cells0 = cells0[keep]
    order = torch.argsort(scores[keep], descending=True, stable=True)[:limit]
    return CoarseMatches(cells0[order], partner[keep][order], scores[keep][order])


def off_border(grid: tuple[int, int], border: int, device: torch.device) -> Tensor:
    """(H * W,) bool: cells at least `border` cells away from the edge."""
    inside = torch.zeros(grid, dtype=torch.bool, device=device)
    inside[border : grid[0] - border, border : grid[1] - border] = True
    return inside.flatten()


def cell_centres(cells: Tensor, width: int) -> Tensor:
    """Centres of flat 1/8 cells, (M,) -> (M, 2) float32 x, y in matched pixels; top-left pixel centre at (0, 0)."""
    return torch.stack([cells % width, cells // width], dim=-1).float() * 8 + 3.5
