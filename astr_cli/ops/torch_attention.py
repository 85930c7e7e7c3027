"""The operator in plain torch, exact everywhere: dense attention under a mask, a piece of the queries at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from astr_cli.ops.lists import KeyLists

# Queries handled at a time. `masked`: bounds the mask (and SDPA's scores) at chunk x keys instead of queries x keys.
# `gathered`: few enough that their spots overlap, many enough that a call's fixed cost does not count.
MASKED_CHUNK = 1024
GATHERED_CHUNK = 64
# Scores held at a time where they are formed outside of SDPA: 64 MiB in float32.
SCORES = 1 << 24


class Piece(NamedTuple):
    """Some queries and the keys that matter to them."""

    batch: slice
    rows: slice
    counts: Tensor  # (b, r, n): how often each query sees each key
    keys: Tensor | None  # (n,) the keys that some query sees, of one batch item; None = all

    def queries_of(self, x: Tensor) -> Tensor:
        """The piece's part of x (B, Nq, H, D) as (b, H, r, D)."""
        return x[self.batch, self.rows].transpose(1, 2)

    def keys_of(self, x: Tensor) -> Tensor:
        """The piece's part of x (B, Nk, H, D) as (b, H, n, D)."""
        part = x[self.batch]
        return (part if self.keys is None else part[:, self.keys]).transpose(1, 2)

    def add_keys(self, total: Tensor, part: Tensor) -> None:
        """Add part (b, H, n, D) to its keys of total (B, Nk, H, D)."""
        if self.keys is None:
            total[self.batch] += part.transpose(1, 2)
        else:
            total[self.batch.start].index_add_(0, self.keys, part[0].transpose(0, 1))


def attend(query: Tensor, key: Tensor, value: Tensor, lists: KeyLists) -> tuple[Tensor, Tensor]:
    """Attention of query (B, Nq, H, D) to key and value (B, Nk, H, D); the log-sum-exps (B, Nq, H) stay zero."""
    # On a CPU most of the time goes into keys that no neighbour looks at; a GPU would wait for their number.
    out = gathered(query, key, value, lists) if query.device.type == "cpu" else masked(query, key, value, lists)
    return out, torch.zeros(query.shape[:3], dtype=torch.float32, device=query.device)


def masked(query: Tensor, key: Tensor, value: Tensor, lists: KeyLists) -> Tensor:
    """`attend` over all keys, in chunks of queries."""
    return _attend(query, key, value, _masked_pieces(query, key, lists, MASKED_CHUNK))


def gathered(query: Tensor, key: Tensor, value: Tensor, lists: KeyLists) -> Tensor:
    """`attend` over only those keys that some query of a chunk sees: neighbours look at the same places."""
    return _attend(query, key, value, _gathered_pieces(query, key, lists))


def attend_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, lists: KeyLists
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; the weights are formed again, piece by piece, in at least float32."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    scale = query.shape[3] ** -0.5
    grad_query = torch.empty(query.shape, dtype=dtype, device=query.device)
    grad_key, grad_value = (torch.zeros(key.shape, dtype=dtype, device=key.device) for _ in range(2))
    chunk = _chunk(query, key)
    cpu = query.device.type == "cpu"
    for piece in _gathered_pieces(query, key, lists) if cpu else _masked_pieces(query, key, lists, chunk):
        q, g = (piece.queries_of(x).to(dtype) for x in (query, grad))
        k, v = (piece.keys_of(x).to(dtype) for x in (key, value))
        scores = (q @ k.transpose(2, 3)) * scale + piece.counts[:, None].to(dtype).log()
        weights = torch.softmax(scores, dim=3).masked_fill(_without_keys(piece.counts), 0.0)
        by_weight = g @ v.transpose(2, 3)
        by_score = weights * (by_weight - (weights * by_weight).sum(dim=3, keepdim=True)) * scale
        grad_query[piece.batch, piece.rows] = (by_score @ k).transpose(1, 2)
        piece.add_keys(grad_key, by_score.transpose(2, 3) @ q)
        piece.add_keys(grad_value, weights.transpose(2, 3) @ g)
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


def _masked_pieces(query: Tensor, key: Tensor, lists: KeyLists, chunk: int) -> Iterator[Piece]:
    batch = slice(0, query.shape[0])
    for start in range(0, query.shape[1], chunk):
        rows = slice(start, min(start + chunk, query.shape[1]))
        yield Piece(batch, rows, lists.counts(batch, rows, query.shape[1], key.shape[1]), None)


def _gathered_pieces(query: Tensor, key: Tensor, lists: KeyLists) -> Iterator[Piece]:
    for index in range(query.shape[0]):
        batch = slice(index, index + 1)
        for start in range(0, query.shape[1], GATHERED_CHUNK):
            rows = slice(start, min(start + GATHERED_CHUNK, query.shape[1]))
            counts = lists.counts(batch, rows, query.shape[1], key.shape[1])
            keys = counts.any(dim=1)[0].nonzero()[:, 0]
            yield Piece(batch, rows, counts[:, :, keys], keys)


def _attend(query: Tensor, key: Tensor, value: Tensor, pieces: Iterator[Piece]) -> Tensor:
    out = torch.zeros(query.shape, dtype=query.dtype, device=query.device)
    for piece in pieces:
        if piece.counts.shape[2] == 0:
            continue
        counts = piece.counts[:, None]
        mask = counts if counts.dtype == torch.bool else counts.float().log().to(query.dtype)
        k, v = piece.keys_of(key), piece.keys_of(value)
        attended = F.scaled_dot_product_attention(piece.queries_of(query), k, v, attn_mask=mask)
        # SDPA leaves NaN (or a mean, depending on the backend) in rows without keys.
        attended = attended.masked_fill(_without_keys(piece.counts), 0.0)
        out[piece.batch, piece.rows] = attended.transpose(1, 2)
    return out


def _without_keys(counts: Tensor) -> Tensor:
    """(b, 1, r, 1) bool: rows that see nothing."""
    return ~counts.any(dim=2)[:, None, :, None]
