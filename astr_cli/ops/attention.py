"""Attention in which each query has its own list of keys (paper section 3.2, supplement 1; docs/model.md, Sparse
attention), and its scores."""

import torch
from torch import Tensor

from astr_cli.ops.registration import sampled_scores as _sampled_scores
from astr_cli.ops.registration import sparse_attention

INTEGERS = (torch.int64, torch.int32)


def spot_attention(
    query: Tensor,  # (B, heads, Nq, D)
    key: Tensor,  # (B, heads, Nk, D)
    value: Tensor,  # (B, heads, Nk, D)
    centres: Tensor,  # (B, Nq, S) int64 or int32
    grid: tuple[int, int],
    window: int,
    key_mask: Tensor | None = None,  # (B, Nk) bool
) -> Tensor:
    """Attend from every query to the set union of its `window` x `window` squares of the key grid.

    `grid` is (height, width) of the key image in cells, Nk = height * width, row-major. `centres` are flat cell
    indices of the windows' centres; -1 stands for no window. A key in two windows counts once; cells outside the grid
    are dropped, never clamped; keys with a False `key_mask` are invisible. A query without any key gets zeros.
    Softmax scale is 1/sqrt(D) (paper section 3.2). Returns (B, heads, Nq, D). Raises ValueError on shapes, dtypes and
    devices that do not fit. Exact twin: `astr_cli.ops.reference.dense_spot_attention`.
    """
    _check_features(query, key, value)
    if key.shape[2] != grid[0] * grid[1]:
        raise ValueError(f"expected {grid[0]} x {grid[1]} keys, got {key.shape[2]}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"expected an odd window, got {window}")
    _check_table("centres", centres, query, "S")
    if key_mask is not None:
        shape = (key.shape[0], key.shape[2])
        if key_mask.shape != shape or key_mask.dtype != torch.bool:
            raise ValueError(f"expected key_mask {shape} of bool, got {tuple(key_mask.shape)} of {key_mask.dtype}")
        _check_device("key_mask", key_mask, query)
    return _attend(query, key, value, centres, None, (*grid, window), key_mask)


def table_attention(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """Attend from every query to the keys of its row of `table` (B, Nq, M), int64 or int32, -1 = no key.

    A key that a row names twice counts twice, as in a sum over pairs. A query without any key gets zeros. Other shapes,
    scale and errors as `spot_attention`; indices of Nk and above are a ValueError too, on a CPU. Exact twin:
    `astr_cli.ops.reference.dense_table_attention`.
    """
    _check_features(query, key, value)
    _check_table("table", table, query, "M")
    return _attend(query, key, value, table, None, (), None)


def list_attention(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, indices: Tensor) -> Tensor:
    """`table_attention` over ragged rows (CSR), the paper's general form: query q of batch item b sees the keys
    indices[offsets[r] : offsets[r + 1]], r = b * Nq + q.

    offsets (B * Nq + 1,) and indices (L,) are int64 or int32. The paper's pair lists M_q, M_k are the same with M_q,
    sorted, counted up.
    """
    _check_features(query, key, value)
    rows = query.shape[0] * query.shape[2]
    for name, vector in (("offsets", offsets), ("indices", indices)):
        if vector.ndim != 1 or vector.dtype not in INTEGERS:
            raise ValueError(f"expected {name} of one dimension, int64 or int32, got {_kind(vector)}")
        _check_device(name, vector, query)
    if len(offsets) != rows + 1:
        raise ValueError(f"expected {rows + 1} offsets for {rows} queries, got {len(offsets)}")
    return _attend(query, key, value, indices, offsets, (), None)


def sampled_scores(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    """query . key at listed pairs, without scale: (B, heads, Nq, M) for `table` (B, Nq, M), 0 where that is -1.

    Step 1 of the paper's operator alone. Shapes and errors as `table_attention`. Exact twin:
    `astr_cli.ops.reference.dense_sampled_scores`.
    """
    _check_features(query, key, key)
    _check_table("table", table, query, "M")
    return _sampled_scores(query.transpose(1, 2), key.transpose(1, 2), table)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cells: Tensor,
    offsets: Tensor | None,
    window: tuple[int, ...],
    key_mask: Tensor | None,
) -> Tensor:
    heads_inside = (x.transpose(1, 2) for x in (query, key, value))
    out, _ = sparse_attention(*heads_inside, cells, offsets, window, key_mask)
    return out.transpose(1, 2)


def _check_features(query: Tensor, key: Tensor, value: Tensor) -> None:
    if query.ndim != 4 or key.ndim != 4 or query.shape[:2] != key.shape[:2] or query.shape[3] != key.shape[3]:
        raise ValueError(f"expected query (B, H, Nq, D) and key (B, H, Nk, D), got {query.shape} and {key.shape}")
    if value.shape != key.shape:
        raise ValueError(f"expected value of key's shape {tuple(key.shape)}, got {tuple(value.shape)}")
    if not query.is_floating_point():
        raise ValueError(f"expected a query of floats, got {query.dtype}")
    for name, x in (("key", key), ("value", value)):
        # Under autocast all of them will be of its dtype.
        if x.dtype != query.dtype and not torch.is_autocast_enabled(query.device.type):
            raise ValueError(f"expected {name} of query's {query.dtype}, got {x.dtype}")
        _check_device(name, x, query)


def _check_table(name: str, table: Tensor, query: Tensor, last: str) -> None:
    if table.ndim != 3 or table.shape[:2] != (query.shape[0], query.shape[2]) or table.dtype not in INTEGERS:
        expected = f"({query.shape[0]}, {query.shape[2]}, {last}), int64 or int32"
        raise ValueError(f"expected {name} {expected}, got {_kind(table)}")
    _check_device(name, table, query)


def _check_device(name: str, x: Tensor, query: Tensor) -> None:
    if x.device != query.device:
        raise ValueError(f"expected {name} on query's {query.device}, got {x.device}")


def _kind(x: Tensor) -> str:
    return f"{tuple(x.shape)} of {x.dtype}"
