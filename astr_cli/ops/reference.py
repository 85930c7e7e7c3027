"""Plain float64 twins of the operators: slow, dense, obviously right. Tests hold every backend against these."""

import torch
from torch import Tensor


def dense_spot_attention(
    query: Tensor,  # (B, heads, Nq, D)
    key: Tensor,  # (B, heads, Nk, D)
    value: Tensor,  # (B, heads, Nk, D)
    centres: Tensor,  # (B, Nq, S) int64, -1 = none
    grid: tuple[int, int],
    window: int,
    key_mask: Tensor | None = None,  # (B, Nk) bool
) -> Tensor:
    """Twin of `spot_attention` in float64: membership by comparing every key with every window."""
    height, width = grid
    cell = torch.arange(height * width, device=query.device)
    apart_y = (centres[..., None] // width - cell // width).abs()  # (B, Nq, S, Nk)
    apart_x = (centres[..., None] % width - cell % width).abs()
    member = (apart_y <= window // 2) & (apart_x <= window // 2) & (centres >= 0)[..., None]
    visible = member.any(dim=2)
    if key_mask is not None:
        visible = visible & key_mask[:, None, :]
    scores = query.double() @ key.double().transpose(-1, -2) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(~visible[:, None], -torch.inf)
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
    return weights @ value.double()


def dense_log_dual_softmax(
    features0: Tensor, features1: Tensor, scale: Tensor, mask0: Tensor | None = None, mask1: Tensor | None = None
) -> Tensor:
    """Twin of `dual_softmax`'s log_p in float64, straight from the definition; -inf where a masked cell takes part."""
    scores = scale.double() * features0.double() @ features1.double().transpose(1, 2)
    valid = torch.ones_like(scores, dtype=torch.bool)
    if mask0 is not None:
        valid = valid & mask0[:, :, None]
    if mask1 is not None:
        valid = valid & mask1[:, None, :]
    scores = scores.masked_fill(~valid, -1e30)
    log_p = torch.log_softmax(scores, dim=2) + torch.log_softmax(scores, dim=1)
    return log_p.masked_fill(~valid, -torch.inf)


def dense_table_attention(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """Twin of `table_attention` in float64, one listed pair at a time: a key named twice is there twice."""
    scores = dense_sampled_scores(query, key, table) / query.shape[-1] ** 0.5
    none = (table < 0)[:, None]
    weights = torch.softmax(scores.masked_fill(none, -torch.inf), dim=-1).nan_to_num(0.0)
    return torch.einsum("bhqm,bhqmd->bhqd", weights, _listed(value.double(), table))


def dense_sampled_scores(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    """Twin of `sampled_scores` in float64."""
    scores = torch.einsum("bhqd,bhqmd->bhqm", query.double(), _listed(key.double(), table))
    return scores.masked_fill((table < 0)[:, None], 0.0)


def _listed(rows: Tensor, table: Tensor) -> Tensor:
    """rows (B, H, Nk, D) at the table's (B, Nq, M) places: (B, H, Nq, M, D); any row where the table says none."""
    batch = torch.arange(len(table), device=table.device)[:, None, None]
    return rows.transpose(1, 2)[batch, table.clamp(min=0)].permute(0, 3, 1, 2, 4)
