"""The operator in plain torch, exact everywhere: dense attention under a mask, a piece of the queries at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from astr_cli.ops.lists import KeyLists

# Queries handled at a time: bounds the mask, and what SDPA may hold, at chunk x keys instead of queries x keys.
CHUNK = 1024
# Scores held at a time where they are formed outside of SDPA: 64 MiB in float32.
SCORES = 1 << 24


class Piece(NamedTuple):
    """Some queries, of all batch items, and how often each of them sees each key."""

    rows: slice
    counts: Tensor  # (B, r, Nk), bool or int32


def attend(query: Tensor, key: Tensor, value: Tensor, lists: KeyLists) -> tuple[Tensor, Tensor]:
    """Attention of query (B, Nq, H, D) to key and value (B, Nk, H, D); the log-sum-exps (B, Nq, H) stay zero.

    All keys take part, under a mask. To gather those that some query of a chunk sees is at best 1.7 times as fast on a
    CPU, and several times slower where other programs run: its many small steps wait for each other.
    """
    out = torch.zeros(query.shape, dtype=query.dtype, device=query.device)
    keys, values = key.transpose(1, 2), value.transpose(1, 2)
    for piece in _pieces(query, key, lists, CHUNK) if key.shape[1] else ():
        counts = piece.counts[:, None]
        mask = counts if counts.dtype == torch.bool else counts.float().log().to(query.dtype)
        rows = query[:, piece.rows].transpose(1, 2)
        attended = F.scaled_dot_product_attention(rows, keys, values, attn_mask=mask)
        # SDPA leaves NaN (or a mean, depending on the backend) in rows without keys.
        attended = attended.masked_fill(_without_keys(piece.counts), 0.0)
        out[:, piece.rows] = attended.transpose(1, 2)
    return out, torch.zeros(query.shape[:3], dtype=torch.float32, device=query.device)


def attend_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, lists: KeyLists
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; the weights are formed again, piece by piece, in at least float32."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    scale = query.shape[3] ** -0.5
    grad_query = torch.empty(query.shape, dtype=dtype, device=query.device)
    grad_key, grad_value = (torch.zeros(key.shape, dtype=dtype, device=key.device) for _ in range(2))
    k, v = (x.transpose(1, 2).to(dtype) for x in (key, value))
    for piece in _pieces(query, key, lists, _chunk(query, key)):
        q, g = (x[:, piece.rows].transpose(1, 2).to(dtype) for x in (query, grad))
        scores = (q @ k.transpose(2, 3)) * scale + piece.counts[:, None].to(dtype).log()
        weights = torch.softmax(scores, dim=3).masked_fill(_without_keys(piece.counts), 0.0)
        by_weight = g @ v.transpose(2, 3)
        by_score = weights * (by_weight - (weights * by_weight).sum(dim=3, keepdim=True)) * scale
        grad_query[:, piece.rows] = (by_score @ k).transpose(1, 2)
        grad_key += (by_score.transpose(2, 3) @ q).transpose(1, 2)
        grad_value += (weights.transpose(2, 3) @ g).transpose(1, 2)
    return grad_query.to(query.dtype), grad_key.to(key.dtype), grad_value.to(value.dtype)


def scores(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    """query . key at the table's pairs, (B, H, Nq, M), 0 where the table says none."""
    found = query.new_empty(query.shape[0], query.shape[2], query.shape[1], table.shape[2])
    chunk = _chunk(query, key)
    for start in range(0, query.shape[1], chunk):
        rows = slice(start, start + chunk)
        dense = query[:, rows].transpose(1, 2) @ key.permute(0, 2, 3, 1)
        cells = table[:, None, rows].long().expand(-1, query.shape[2], -1, -1)
        found[:, :, rows] = dense.gather(3, cells.clamp(min=0)).masked_fill_(cells < 0, 0.0)
    return found


def scores_backward(grad: Tensor, query: Tensor, key: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `scores`."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    grad_query = torch.empty(query.shape, dtype=dtype, device=query.device)
    grad_key = torch.zeros(key.shape, dtype=dtype, device=key.device)
    chunk = _chunk(query, key)
    k = key.transpose(1, 2).to(dtype)
    for start in range(0, query.shape[1], chunk):
        rows = slice(start, start + chunk)
        q = query[:, rows].transpose(1, 2).to(dtype)
        cells = table[:, None, rows].long().expand(-1, query.shape[2], -1, -1)
        dense = torch.zeros(*q.shape[:3], key.shape[1], dtype=dtype, device=query.device)
        dense.scatter_add_(3, cells.clamp(min=0), grad[:, :, rows].to(dtype).masked_fill(cells < 0, 0.0))
        grad_query[:, rows] = (dense @ k).transpose(1, 2)
        grad_key += (dense.transpose(2, 3) @ q).transpose(1, 2)
    return grad_query.to(query.dtype), grad_key.to(key.dtype)


def _chunk(query: Tensor, key: Tensor) -> int:
    """Queries at a time that keep to `SCORES`."""
    return max(1, SCORES // max(1, query.shape[0] * query.shape[2] * key.shape[1]))


def _pieces(query: Tensor, key: Tensor, lists: KeyLists, chunk: int) -> Iterator[Piece]:
    batch = slice(0, query.shape[0])
    for start in range(0, query.shape[1], chunk):
        rows = slice(start, min(start + chunk, query.shape[1]))
        yield Piece(rows, lists.counts(batch, rows, query.shape[1], key.shape[1]))


def _without_keys(counts: Tensor) -> Tensor:
    """(B, 1, r, 1) bool: rows that see nothing."""
    return ~counts.any(dim=2)[:, None, :, None]
