"""Choosing the spots (paper section 3.2; docs/model.md, Spots): the places in the other image where each cell should
look, chosen with the help of its neighbours."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from astr_cli.model.layers import split_heads, to_tokens
from astr_cli.ops.attention import sampled_scores
from astr_cli.ops.matching import BestMatches

HEAD = 32  # channels whose products the operator sums at a time


class Spots(NamedTuple):
    """Where each of N cells looks in the other image."""

    centres: Tensor  # (B, N, 1 + top_k) int64 cells of the other image, -1 = none
    seeds: Tensor  # (B, N, top_k) int64 cells of the own image whose best matches the last top_k centres are


@torch.no_grad()
def select_spots(
    best: BestMatches,  # of the queries' N cells, in the other image
    features: Tensor,  # (B, C, H, W) of the queries' image, N = H * W
    window: int,
    top_k: int,
    mask: Tensor | None = None,  # (B, H, W) bool of the queries' image
) -> Spots:
    """Centres of each query's windows, and the seeds that led to them.

    The first is the query's own best match, the others those of the `top_k` cells of its window x window neighbourhood
    (itself left out) with the greatest similarity times confidence. Carries no gradient: the matching matrix learns
    through its own loss.
    """
    confidence = best.log_p.exp()  # 0 for rows without a valid partner
    location = torch.where(confidence > 0, best.cells, -1)
    grid = (features.shape[2], features.shape[3])
    valid = torch.ones_like(location, dtype=torch.bool) if mask is None else mask.flatten(1)
    offsets = [
        (dy, dx)
        for dy in range(-(window // 2), window // 2 + 1)
        for dx in range(-(window // 2), window // 2 + 1)
        if (dy, dx) != (0, 0)
    ]
    neighbour = neighbour_cells(grid, offsets, features.device)  # (N, O), -1 = outside
    inside = (neighbour >= 0) & valid[:, neighbour.clamp(min=0)]
    if features.is_cuda:
        similarity = listed_similarity(features, torch.where(inside, neighbour, -1))
    else:
        similarity = neighbour_similarity(features, offsets, valid.unflatten(1, grid))
    score = similarity * confidence[:, neighbour.clamp(min=0)]
    # Cells outside of the image or masked must lose to every cell inside, even to those of zero confidence.
    score = score.masked_fill(~inside, -1.0)
    best_score, chosen = score.topk(top_k, dim=2)
    seeds = neighbour.expand(len(score), -1, -1).gather(2, chosen)
    found = location.gather(1, seeds.clamp(min=0).flatten(1)).unflatten(1, chosen.shape[1:])
    found = torch.where(best_score >= 0, found, -1)
    return Spots(torch.cat([location[..., None], found], dim=2), seeds)


def neighbour_similarity(features: Tensor, offsets: list[tuple[int, int]], valid: Tensor) -> Tensor:
    """Softmax of the scaled dot products of each cell with its neighbours at `offsets`: (B, N, len(offsets))."""
    reach = max(max(abs(dy), abs(dx)) for dy, dx in offsets)
    height, width = features.shape[2:]
    padded = F.pad(features, (reach, reach, reach, reach))
    present = F.pad(valid, (reach, reach, reach, reach))
    scores = []
    for dy, dx in offsets:
        rows, columns = slice(reach + dy, reach + dy + height), slice(reach + dx, reach + dx + width)
        score = (features * padded[:, :, rows, columns]).sum(dim=1, dtype=torch.float32)
        scores.append(score.masked_fill(~present[:, rows, columns], -torch.inf))
    stacked = torch.stack(scores, dim=-1).flatten(1, 2) / features.shape[1] ** 0.5
    return torch.softmax(stacked, dim=-1).nan_to_num(0.0)


def listed_similarity(features: Tensor, table: Tensor) -> Tensor:
    """`neighbour_similarity` with the cells of table (B, N, O), -1 = none: one kernel instead of hundreds."""
    heads = split_heads(to_tokens(features).float(), features.shape[1] // HEAD)
    scores = sampled_scores(heads, heads, table).sum(dim=1) / features.shape[1] ** 0.5
    return torch.softmax(scores.masked_fill(table < 0, -torch.inf), dim=-1).nan_to_num(0.0)


def neighbour_cells(grid: tuple[int, int], offsets: list[tuple[int, int]], device: torch.device) -> Tensor:
    """Flat indices of each cell's neighbours at `offsets`, (H * W, len(offsets)); -1 outside of the grid."""
    height, width = grid
    cell = torch.arange(height * width, device=device)[:, None]
    dy, dx = torch.tensor(offsets, device=device).T
    rows, columns = cell // width + dy, cell % width + dx
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return torch.where(inside, rows * width + columns, -1)
