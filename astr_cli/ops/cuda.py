"""The attention operators on an NVIDIA GPU, by the kernels of cuda/.

Tensors are (B, N, H, D). A warp serves one row and as many heads as it can hold; it alone writes its sums, once,
so that results are the same bits every time. For the gradients of keys the lists are ordered by key with
torch's stable sort, on the device: shapes depend on shapes only, and the CPU never waits for the GPU.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops import cuda_launch
from astr_cli.ops.cuda_launch import SCALARS, TILE, Argument, Build, Grid
from astr_cli.ops.lists import KeyLists

LANES = 32  # of a warp
OLDEST = (7, 5)  # compute capability
BEYOND = 2**31  # what the kernels cannot count
Launch = Callable[[Build, str, Grid, Sequence[Argument]], None]


class NoMemoryError(Exception):
    """The first trial of the kernels failed for want of memory: it says nothing about the next one."""


def problem() -> str | None:
    """Why this machine cannot run the kernels; None = it can: they have been tried on the current device.

    The answer is kept, but not a want of memory: the next call tries again.
    """
    try:
        return _settled()
    except NoMemoryError as error:
        return because(str(error))


@cache
def _settled() -> str | None:
    if torch.version.cuda is None:
        return because("this PyTorch is built for AMD GPUs" if torch.version.hip else "this PyTorch lacks CUDA")
    if not torch.cuda.is_available():
        return because("PyTorch finds no NVIDIA GPU")
    capability = torch.cuda.get_device_capability()
    if capability < OLDEST:
        return because("they need compute capability {}.{}, this GPU has {}.{}".format(*OLDEST, *capability))
    try:
        _try()
    except Exception as error:  # NVRTC, the driver and their wheels fail in many ways of their own
        raise_for_memory(error)
        return because(explained(error))
    return None


def raise_for_memory(error: Exception) -> None:
    """Raises NoMemoryError for an error of PyTorch, the driver or Python that says so."""
    said = f"{type(error).__name__} {error}".lower().replace("_", " ")
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or "out of memory" in said:
        raise NoMemoryError(explained(error)) from error


def explained(error: Exception) -> str:
    """The text of a cuda.core error and the advice for it, on one line."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    if not isinstance(error, ImportError):
        return said
    major = (torch.version.cuda or "13").split(".")[0]
    return f"{said}; pip install cuda-core 'cuda-bindings=={major}.*'"


def because(reason: str) -> str:
    """The sentence that `problem` returns for a reason."""
    return f"the CUDA kernels are not available because {reason}"


def _try() -> None:
    x = torch.ones(1, 1, 1, 32, device="cuda")
    out, _ = CudaAttention().attend(x, x, x, KeyLists(torch.zeros(1, 1, 1, dtype=torch.int32, device="cuda")))
    if not torch.equal(out, x):
        raise ArithmeticError("a first trial gave wrong numbers")


def limit(query: Tensor, key: Tensor, lists: KeyLists) -> str | None:
    """Why the kernels do not support these inputs on any machine; None = they do. Lists of scores are a table."""
    if query.dtype not in SCALARS:
        return f"there are no kernels for {query.dtype}"
    if _lanes(query) > LANES:
        return f"heads of {query.shape[3]} {query.dtype} are too long for a warp"
    if lists.window and max(lists.window[2], lists.cells.shape[2]) > LANES:
        return f"at most {LANES} windows per query, of side {LANES - 1}, fit into a warp"
    most = max(x.numel() for x in (query, key, lists.cells))
    if max(most, query.shape[2] * lists.cells.numel()) >= BEYOND or query.shape[0] >= 2**16:
        return "the kernels count in 32 bits"
    return None


class CudaAttention(NamedTuple):
    """The operators, with `launch` to run the kernels."""

    launch: Launch = cuda_launch.launch

    def attend(self, query: Tensor, key: Tensor, value: Tensor, lists: KeyLists) -> tuple[Tensor, Tensor]:
        """Attention of query (B, Nq, H, D) to key and value (B, Nk, H, D), and its log-sum-exps (B, Nq, H)."""
        out = query.new_empty(query.shape)
        lse = query.new_empty(query.shape[:3], dtype=_real(query))
        if query.numel() == 0 or key.numel() == 0:
            return out.zero_(), lse.fill_(-torch.inf)
        build = Build("attend", query.dtype, query.shape[3], _side(lists))
        width = _query_width(query, key, lists)
        arguments = (*_inputs(query, key, value, lists), *_sizes(query, key), width, out, lse)
        self.launch(build, "astr_attend", _grid(query, width), arguments)
        return out, lse

    def attend_backward(
        self, grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, lists: KeyLists
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of query, key and value: over the keys of each query, then over the queries of each key."""
        grad_query, grad_key, grad_value = (x.new_empty(x.shape) for x in (query, key, value))
        if query.numel() == 0 or key.numel() == 0:
            return grad_query.zero_(), grad_key.zero_(), grad_value.zero_()
        build = Build("attend_backward", query.dtype, query.shape[3], _side(lists))
        inputs, upstream = _inputs(query, key, value, lists), _rows(grad.to(query.dtype))
        softmax = query.new_empty((*query.shape[:3], 2), dtype=_real(query))
        width = _query_width(query, key, lists)
        results = (lse.contiguous(), grad_query, softmax)
        for_queries = (*inputs, *_sizes(query, key), width, *upstream, *_rows(out), *results)
        self.launch(build, "astr_attend_query_gradient", _grid(query, width), for_queries)
        starts, entries, rows = by_key(lists, query.shape[0], query.shape[1], key.shape[1])
        width = lists.window[1] if lists.window else 0
        ordered = (starts, entries if lists.window else rows, key.shape[1], key.shape[2], width)
        for_keys = (*inputs, *ordered, *upstream, softmax, grad_key, grad_value)
        self.launch(build, "astr_attend_key_gradient", _grid(key, width), for_keys)
        return grad_query, grad_key, grad_value

    def scores(self, query: Tensor, key: Tensor, table: Tensor) -> Tensor:
        """query . key at the table's pairs, (B, H, Nq, M), 0 where the table says none."""
        out = query.new_empty(query.shape[0], query.shape[2], query.shape[1], table.shape[2])
        if out.numel() == 0 or key.numel() == 0:
            return out.zero_()
        build = Build("scores", query.dtype, query.shape[3])
        arguments = (*_rows(query), *_rows(key), _int32(table), table.shape[2], *_sizes(query, key), out)
        self.launch(build, "astr_scores", _grid(query, 0), arguments)
        return out

    def scores_backward(self, grad: Tensor, query: Tensor, key: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of `scores`."""
        grad_query, grad_key = query.new_empty(query.shape), key.new_empty(key.shape)
        if grad.numel() == 0 or key.numel() == 0:
            return grad_query.zero_(), grad_key.zero_()
        build = Build("scores", query.dtype, query.shape[3])
        slopes = grad.to(query.dtype).contiguous()
        sizes = (table.shape[2], *_sizes(query, key))
        for_queries = (*_rows(key), _int32(table), *sizes, slopes, grad_query)
        self.launch(build, "astr_scores_query_gradient", _grid(query, 0), for_queries)
        starts, entries, _ = by_key(KeyLists(table), query.shape[0], query.shape[1], key.shape[1])
        for_keys = (*_rows(query), starts, entries, *sizes, slopes, grad_key)
        self.launch(build, "astr_scores_key_gradient", _grid(key, 0), for_keys)
        return grad_query, grad_key


class ByKey(NamedTuple):
    """Key lists ordered by key, int32; the lists' own order within each."""

    starts: Tensor  # (B * Nk + 1,) where each key's part begins; entries without a key stand behind all parts
    entries: Tensor  # (L,) flat indices of the lists' cells
    rows: Tensor  # (L,) the queries that these belong to, counted over the batch


def by_key(lists: KeyLists, batch: int, queries: int, keys: int) -> ByKey:
    """Order key lists by key; for windows, by the cell of their centre."""
    cells = _int32(lists.cells).flatten()
    place = torch.arange(len(cells), dtype=torch.int32, device=cells.device)
    if lists.offsets is None:
        row = place // max(1, lists.cells.shape[2])
    else:
        row = torch.searchsorted(_int32(lists.offsets), place, right=True, out_int32=True) - 1
    named = (cells >= 0) & (cells < keys) & (row >= 0) & (row < batch * queries)
    key = torch.where(named, row // queries * keys + cells, batch * keys)
    ordered, entries = torch.sort(key, stable=True)
    bounds = torch.arange(batch * keys + 1, dtype=torch.int32, device=cells.device)
    return ByKey(torch.searchsorted(ordered, bounds, out_int32=True), _int32(entries), row[entries])


def _inputs(query: Tensor, key: Tensor, value: Tensor, lists: KeyLists) -> tuple[Argument, ...]:
    """The first arguments of the attention kernels."""
    (keys, key_stride), (values, value_stride) = _rows(key), _rows(value)
    if key_stride != value_stride:
        keys, values, key_stride = keys.contiguous(), values.contiguous(), keys.shape[1]
    offsets = None if lists.offsets is None else _int32(lists.offsets)
    mask = None if lists.key_mask is None else lists.key_mask.contiguous()
    height, width = lists.window[:2] if lists.window else (0, 0)
    named = (_int32(lists.cells), offsets, mask, lists.cells.shape[-1], height, width)
    return (*_rows(query), keys, values, key_stride, *named)


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """x (B, N, H, D) as (B * N, H * D), a view where it can be, and how far apart its rows lie.

    Elements of a row are side by side, and what a lane reads at once is aligned.
    """
    rows = x.flatten(0, 1).flatten(1)
    step, apart = _vector(x), rows.stride(0)
    aligned = rows.data_ptr() % (step * x.element_size()) == 0 and apart % step == 0
    if rows.stride(1) != 1 or not aligned or apart * len(rows) >= BEYOND:
        rows = rows.clone(memory_format=torch.contiguous_format)
    return rows, rows.stride(0)


def _vector(x: Tensor) -> int:
    """Elements of a head that a lane holds: VECTOR of warps.cu."""
    return min(x.shape[3] & -x.shape[3], 16 // x.element_size())


def _lanes(x: Tensor) -> int:
    """Lanes that hold a head: LANES of warps.cu."""
    return 1 << (x.shape[3] // max(1, _vector(x)) - 1).bit_length()


def _grid(served: Tensor, width: int) -> Grid:
    """Blocks for the rows of `served` (B, N, H, D), a grid of that width, 0 = unknown: served_row of warps.cu."""
    batch, rows, heads, _ = served.shape
    tiles = -(-rows // TILE**2) if width == 0 else -(-width // TILE) * -(-rows // width // TILE)
    return tiles, -(-heads // (LANES // _lanes(served))), batch


def _query_width(query: Tensor, key: Tensor, lists: KeyLists) -> int:
    """Width of the grid of queries, for locality alone: as wide as the keys' if there are as many, else unknown."""
    return lists.window[1] if lists.window and query.shape[1] == key.shape[1] else 0


def _sizes(query: Tensor, key: Tensor) -> tuple[int, int, int]:
    return query.shape[1], key.shape[1], query.shape[2]


def _side(lists: KeyLists) -> int:
    return lists.window[2] if lists.window else 0


def _real(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _int32(x: Tensor) -> Tensor:
    return x.to(torch.int32).contiguous()
