"""Inputs for the kernels of cuda/, on whatever device, and the float64 twins of what they should make of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.ops.cuda import CudaAttention
from astr_cli.ops.lists import KeyLists
from astr_cli.ops.reference import dense_spot_attention, dense_table_attention

# Of results in their own dtype, for inputs that are normal and the twin in float64: a few units in the last place.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
GRID, WINDOW = (5, 7), 5


class Case(NamedTuple):
    """Tensors (B, N, H, D) as the kernels take them."""

    query: Tensor
    key: Tensor
    value: Tensor
    grad: Tensor
    table: Tensor
    mask: Tensor


class Result(NamedTuple):
    out: Tensor
    lse: Tensor
    grad_query: Tensor
    grad_key: Tensor
    grad_value: Tensor


def random_case(dtype, heads=3, size=32, queries=35, keys=35, per_row=5, seed=0) -> Case:
    """Two items. A fifth of the table is -1, and its first row is empty; a third of the keys is masked."""
    generator = torch.Generator().manual_seed(seed)
    query, grad = torch.randn(2, 2, queries, heads, size, generator=generator).to(dtype)
    key, value = torch.randn(2, 2, keys, heads, size, generator=generator).to(dtype)
    table = torch.randint(0, keys, (2, queries, per_row), generator=generator)
    table.masked_fill_(torch.rand(table.shape, generator=generator) < 0.2, -1)[:, 0] = -1
    return Case(query, key, value, grad, table, torch.rand(2, keys, generator=generator) < 0.7)


def windows_of(case: Case, mask: bool = True) -> KeyLists:
    return KeyLists(case.table, window=(*GRID, WINDOW), key_mask=case.mask if mask else None)


def rows_of(case: Case) -> KeyLists:
    """The table as CSR rows."""
    flat = case.table.flatten(0, 1)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), (flat >= 0).sum(dim=1).cumsum(0)])
    return KeyLists(flat[flat >= 0], offsets)


def kernels(attention: CudaAttention, case: Case, lists: KeyLists) -> Result:
    """Forward and backward by the kernels."""
    out, lse = attention.attend(*case[:3], lists)
    return Result(out, lse, *attention.attend_backward(case.grad, *case[:3], out, lse, lists))


def twin(case: Case, lists: KeyLists) -> Result:
    """The same in float64, from the definition."""
    leaves = [x.transpose(1, 2).double().requires_grad_() for x in case[:3]]
    if lists.window:
        out = dense_spot_attention(*leaves, lists.cells, lists.window[:2], lists.window[2], lists.key_mask)
    else:
        out = dense_table_attention(*leaves, case.table)
    grads = torch.autograd.grad(out, leaves, case.grad.transpose(1, 2).double())
    batch, queries, keys = case.query.shape[0], case.query.shape[1], case.key.shape[1]
    counts = lists.counts(slice(0, batch), slice(0, queries), queries, keys)[:, None].double()
    scores = leaves[0] @ leaves[1].transpose(2, 3) / case.query.shape[3] ** 0.5 + counts.log()
    lse = torch.logsumexp(scores, dim=3)
    return Result(*(x.detach().transpose(1, 2) for x in (out, lse, *grads)))


def assert_close(found: Result, expected: Result, tolerance: float) -> None:
    for name, x, y in zip(Result._fields, found, expected, strict=True):
        torch.testing.assert_close(
            x.double(), y, atol=tolerance, rtol=tolerance, msg=lambda text, n=name: f"{n}: {text}"
        )


def assert_same(found: Result, expected: Result) -> None:
    """To the last bit."""
    for name, x, y in zip(Result._fields, found, expected, strict=True):
        assert torch.equal(x, y), name
