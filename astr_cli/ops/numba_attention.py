"""The operator on a CPU by the loops of `numba_kernels`: float32 inside, whatever the inputs are."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from astr_cli.ops import numba_kernels as kernels
from astr_cli.ops.lists import KeyLists
from astr_cli.ops.numba_kernels import Array
from astr_cli.ops.threads import LoopRange, over, workers

ROWS = 256  # queries of one piece of work


def attend(query: Tensor, key: Tensor, value: Tensor, lists: KeyLists) -> tuple[Tensor, Tensor]:
    """Attention of query (B, Nq, H, D) to key and value (B, Nk, H, D), and its log-sum-exps (B, Nq, H)."""
    out = torch.empty(query.shape, dtype=torch.float32)
    lse = torch.empty(query.shape[:3], dtype=torch.float32)
    arguments = (_array(query), _keys(key), _keys(value), *_flat(lists, query), out.numpy(), lse.numpy())
    lanes = (None,) * query.shape[3]
    with workers() as pool:
        rows = query.shape[0] * query.shape[1]
        over(pool, LoopRange(rows, ROWS, kernels.forward, (lanes, *arguments)))
    return out.to(query.dtype), lse


def attend_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, lists: KeyLists
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value, one head of one batch item a piece of work."""
    found = [torch.zeros(x.shape, dtype=torch.float32) for x in (query, key, value)]
    inputs = (_array(grad), _array(query), _keys(key), _keys(value), *_flat(lists, query))
    outputs = (found[0].numpy(), _keys(found[1]), _keys(found[2]))
    lanes = (None,) * query.shape[3]
    with workers() as pool:
        heads = query.shape[0] * query.shape[2]
        over(pool, LoopRange(heads, 1, kernels.backward, (lanes, *inputs, *outputs)))
    return found[0].to(query.dtype), found[1].to(key.dtype), found[2].to(value.dtype)


def scores(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    """query . key at the table's pairs, (B, H, Nq, M), 0 where the table says none."""
    out = torch.zeros(query.shape[0], query.shape[2], query.shape[1], table.shape[2], dtype=torch.float32)
    arguments = (_array(query), _keys(key), _cells(table), out.numpy())
    lanes = (None,) * query.shape[3]
    with workers() as pool:
        rows = query.shape[0] * query.shape[1]
        over(pool, LoopRange(rows, ROWS, kernels.scores, (lanes, *arguments)))
    return out.to(query.dtype)


def scores_backward(grad: Tensor, query: Tensor, key: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `scores`."""
    found = [torch.zeros(x.shape, dtype=torch.float32) for x in (query, key)]
    arguments = (_array(grad), _array(query), _keys(key), _cells(table), found[0].numpy(), _keys(found[1]))
    lanes = (None,) * query.shape[3]
    with workers() as pool:
        heads = query.shape[0] * query.shape[2]
        over(pool, LoopRange(heads, 1, kernels.scores_backward, (lanes, *arguments)))
    return found[0].to(query.dtype), found[1].to(key.dtype)


class FlatLists(NamedTuple):
    """Key lists as the loops take them."""

    cells: Array  # (L,) int32
    begin: Array  # (B * Nq + 1,) int64
    grid: Array  # (3,) int64: height, width and side of windows, side 0 for none
    mask: Array  # (B * Nk,) bool, or empty


def _flat(lists: KeyLists, query: Tensor) -> FlatLists:
    rows = query.shape[0] * query.shape[1]
    if lists.offsets is None:
        begin = np.arange(rows + 1, dtype=np.int64) * lists.cells.shape[2]
    else:
        begin = lists.offsets.long().contiguous().numpy()
    mask = np.empty(0, np.bool_) if lists.key_mask is None else lists.key_mask.flatten().contiguous().numpy()
    grid = np.array(lists.window or (0, 0, 0), np.int64)
    return FlatLists(_cells(lists.cells).reshape(-1), begin, grid, mask)


def _array(x: Tensor) -> Array:
    return x.detach().float().contiguous().numpy()


def _keys(x: Tensor) -> Array:
    """(B, Nk, H, D) as (B * Nk, H, D)."""
    array = _array(x)
    return array.reshape(-1, *array.shape[2:])


def _cells(x: Tensor) -> Array:
    return x.to(torch.int32).contiguous().numpy()
