"""Coarse matches: mutual nearest cells of the final matching matrix above a threshold, away from the border (paper
section 3.2; docs/model.md, Coarse matches)."""

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops.matching import BestMatches


class CoarseMatches(NamedTuple):
    """Coarse matches of one pair, score falling, ties by cell of image0."""

    cells0: Tensor  # (M,) int64, flat cells of image0
    cells1: Tensor  # (M,) int64, flat cells of image1
    scores: Tensor  # (M,) float32, P_c


class Fate(IntEnum):
    """Why a cell of image0 gave no match; the first reason that holds, a mask before all others."""

    MATCHED = 0
    NOT_MUTUAL = 1  # its best partner has a better one
    BELOW_THRESHOLD = 2
    BORDER = 3  # it, or its partner, is too close to the edge
    MASKED = 4  # no pixel of it is to be matched, or a mask covers the points of its match


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
    partner, scores = best0.cells, best0.log_p.exp()
    keep = cell_fates(best0, best1, grid0, grid1, threshold, border) == Fate.MATCHED
    cells0 = torch.arange(len(partner), device=partner.device)[keep]
    order = torch.argsort(scores[keep], descending=True, stable=True)[:limit]
    return CoarseMatches(cells0[order], partner[keep][order], scores[keep][order])


def cell_fates(
    best0: BestMatches,
    best1: BestMatches,
    grid0: tuple[int, int],
    grid1: tuple[int, int],
    threshold: float,
    border: int,
) -> Tensor:
    """The `Fate` of each cell of image0 but for masks, (N0,) uint8; arguments as those of `coarse_matches`."""
    partner = best0.cells
    inside = off_border(grid0, border, partner.device) & off_border(grid1, border, partner.device)[partner]
    fates = torch.where(inside, Fate.MATCHED, Fate.BORDER).to(torch.uint8)
    fates = fates.masked_fill(~(best0.log_p.exp() > threshold), Fate.BELOW_THRESHOLD)
    mutual = best1.cells[partner] == torch.arange(len(partner), device=partner.device)
    return fates.masked_fill(~mutual, Fate.NOT_MUTUAL)


def off_border(grid: tuple[int, int], border: int, device: torch.device) -> Tensor:
    """(H * W,) bool: cells at least `border` cells away from the edge."""
    inside = torch.zeros(grid, dtype=torch.bool, device=device)
    inside[border : grid[0] - border, border : grid[1] - border] = True
    return inside.flatten()


def cell_centres(cells: Tensor, width: int) -> Tensor:
    """Centres of flat 1/8 cells, (M,) -> (M, 2) float32 x, y in matched pixels; top-left pixel centre at (0, 0)."""
    return torch.stack([cells % width, cells // width], dim=-1).float() * 8 + 3.5
