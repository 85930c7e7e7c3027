"""Spot-guided attention: each query sees the union of a few windows of the other image, and nothing else."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Queries handled at a time. `masked`: bounds the boolean mask (and SDPA's scores) at chunk x keys instead of queries x
# keys. `gathered`: few enough that their spots overlap, many enough that a call's fixed cost does not count.
MASKED_CHUNK = 1024
GATHERED_CHUNK = 64


def spot_attention(
    query: Tensor,  # (B, heads, Nq, D)
    key: Tensor,  # (B, heads, Nk, D)
    value: Tensor,  # (B, heads, Nk, D)
    centres: Tensor,  # (B, Nq, S) int64
    grid: tuple[int, int],
    window: int,
    key_mask: Tensor | None = None,  # (B, Nk) bool
) -> Tensor:
    """Attend from every query to the set union of its `window` x `window` squares of the key grid.

    `grid` is (height, width) of the key image in cells, Nk = height * width, row-major. `centres` are flat cell
    indices of the windows' centres; -1 stands for no window. A key in two windows counts once; cells outside the grid
    are dropped, never clamped; keys with a False `key_mask` are invisible. A query without any key gets zeros.
    Softmax scale is 1/sqrt(D) (paper section 3.2). Returns (B, heads, Nq, D). Raises ValueError on shapes that do not
    fit. Exact twin: `astr_cli.ops.reference.dense_spot_attention`.
    """
    check_spot_arguments(query, key, value, centres, grid, window, key_mask)
    # Gathering has data-dependent shapes: a synchronisation on a GPU, and slow to differentiate.
    gather = query.device.type == "cpu" and not torch.is_grad_enabled()
    return (gathered if gather else masked)(query, key, value, centres, grid, window, key_mask)


def masked(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centres: Tensor,
    grid: tuple[int, int],
    window: int,
    key_mask: Tensor | None,
) -> Tensor:
    """`spot_attention` as dense attention under a mask, in chunks of queries."""
    parts = []
    for start in range(0, query.shape[2], MASKED_CHUNK):
        rows = slice(start, start + MASKED_CHUNK)
        visible = spot_mask(centres[:, rows], grid, window)
        if key_mask is not None:
            visible &= key_mask[:, None, :]
        parts.append(_attend(query[:, :, rows], key, value, visible))
    return torch.cat(parts, dim=2)


def gathered(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centres: Tensor,
    grid: tuple[int, int],
    window: int,
    key_mask: Tensor | None,
) -> Tensor:
    """`spot_attention` over only those keys that some query of a chunk sees: neighbours look at the same places."""
    result = torch.empty_like(query)
    for index in range(query.shape[0]):
        for start in range(0, query.shape[2], GATHERED_CHUNK):
            rows = slice(start, start + GATHERED_CHUNK)
            visible = spot_mask(centres[index : index + 1, rows], grid, window)
            if key_mask is not None:
                visible &= key_mask[index]
            seen = visible.any(dim=1)[0].nonzero()[:, 0]
            keys, values = key[index : index + 1, :, seen], value[index : index + 1, :, seen]
            result[index : index + 1, :, rows] = _attend(
                query[index : index + 1, :, rows], keys, values, visible[:, :, seen]
            )
    return result


def _attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> Tensor:
    """Attention under `visible` (B, Nq, Nk) bool, zero in rows without keys."""
    if key.shape[2] == 0:
        return torch.zeros_like(query)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None])
    # SDPA leaves NaN (or a mean, depending on the backend) in rows without keys.
    return attended.masked_fill(~visible.any(dim=-1)[:, None, :, None], 0.0)


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
    cells = torch.where(inside, cells, height * width).flatten(2)
    visible = torch.zeros(*centres.shape[:2], height * width + 1, dtype=torch.bool, device=centres.device)
    return visible.scatter_(2, cells, True)[..., :-1]


def check_spot_arguments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    centres: Tensor,
    grid: tuple[int, int],
    window: int,
    key_mask: Tensor | None,
) -> None:
    """Raise ValueError, with expected and got, unless the shapes of `spot_attention`'s arguments fit together."""
    if query.ndim != 4 or key.ndim != 4 or query.shape[:2] != key.shape[:2] or query.shape[3] != key.shape[3]:
        raise ValueError(f"expected query (B, H, Nq, D) and key (B, H, Nk, D), got {query.shape} and {key.shape}")
    if value.shape != key.shape:
        raise ValueError(f"expected value of key's shape {tuple(key.shape)}, got {tuple(value.shape)}")
    if key.shape[2] != grid[0] * grid[1]:
        raise ValueError(f"expected {grid[0]} x {grid[1]} keys, got {key.shape[2]}")
    if centres.ndim != 3 or centres.shape[0] != query.shape[0] or centres.shape[1] != query.shape[2]:
        raise ValueError(f"expected centres ({query.shape[0]}, {query.shape[2]}, S), got {tuple(centres.shape)}")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"expected an odd window, got {window}")
    if key_mask is not None and key_mask.shape != (key.shape[0], key.shape[2]):
        raise ValueError(f"expected key_mask ({key.shape[0]}, {key.shape[2]}), got {tuple(key_mask.shape)}")
