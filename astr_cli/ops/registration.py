"""The attention operators as torch.library custom ops: shapes for tracing, gradients, autocast.

Tensors are (B, N, H, D) here, the layout in which a linear layer leaves heads and the next one reads them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from astr_cli.ops.backends import attention_backend, matching_backend
from astr_cli.ops.lists import KeyLists

_LISTS = "Tensor cells, Tensor? offsets, int[] window, Tensor? key_mask"


def custom_op(name: str, schema: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorator that makes a function the operator torch.ops.astr.<name>, for every device, and returns that.

    torch.library.custom_op would do more, and import torch's compiler at the first call: a second for nothing.
    """

    def register(function: Callable[..., Any]) -> Any:
        torch.library.define(f"astr::{name}", schema)
        torch.library.impl(f"astr::{name}", "CompositeExplicitAutograd")(function)
        return getattr(torch.ops.astr, name).default

    return register


@custom_op("sparse_attention", f"(Tensor query, Tensor key, Tensor value, {_LISTS}) -> (Tensor, Tensor)")
def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cells: Tensor,
    offsets: Tensor | None,
    window: Sequence[int],
    key_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Attention of (B, Nq, H, D) to (B, Nk, H, D) under `KeyLists`, and log-sum-exps (B, Nq, H) for the backward."""
    lists = KeyLists(cells, offsets, window, key_mask)
    lists.check_values(key.shape[1])
    return attention_backend(query, key, lists).attend(query, key, value, lists)


@custom_op(
    "sparse_attention_backward",
    f"(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor out, Tensor lse, {_LISTS})"
    " -> (Tensor, Tensor, Tensor)",
)
def sparse_attention_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    cells: Tensor,
    offsets: Tensor | None,
    window: Sequence[int],
    key_mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    lists = KeyLists(cells, offsets, window, key_mask)
    return attention_backend(query, key, lists).attend_backward(grad, query, key, value, out, lse, lists)


@custom_op("sampled_scores", "(Tensor query, Tensor key, Tensor table) -> Tensor")
def sampled_scores(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    """query . key at the pairs of table (B, Nq, M), as (B, H, Nq, M); 0 where the table says none."""
    lists = KeyLists(table)
    lists.check_values(key.shape[1])
    return attention_backend(query, key, lists).scores(query, key, table)


@custom_op("sampled_scores_backward", "(Tensor grad, Tensor query, Tensor key, Tensor table) -> (Tensor, Tensor)")
def sampled_scores_backward(grad: Tensor, query: Tensor, key: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of query and key."""
    return attention_backend(query, key, KeyLists(table)).scores_backward(grad, query, key, table)


@torch.library.register_fake(sparse_attention.name())
def _(query: Tensor, key: Tensor, value: Tensor, *lists: object) -> tuple[Tensor, Tensor]:
    return query.new_empty(query.shape), query.new_empty(query.shape[:3], dtype=torch.float32)


@torch.library.register_fake(sparse_attention_backward.name())
def _(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: object) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (query, key, value))


@torch.library.register_fake(sampled_scores.name())
def _(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    return query.new_empty(query.shape[0], query.shape[2], query.shape[1], table.shape[2])


@torch.library.register_fake(sampled_scores_backward.name())
def _(grad: Tensor, query: Tensor, key: Tensor, table: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (query, key))


def _keep_attention(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, cells, offsets, ctx.window, key_mask = inputs
    ctx.save_for_backward(query, key, value, *output, cells, offsets, key_mask)


def _attention_gradient(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, out, lse, cells, offsets, key_mask = ctx.saved_tensors
    found = sparse_attention_backward(grad, query, key, value, out, lse, cells, offsets, ctx.window, key_mask)
    return (*found, None, None, None, None)


def _keep_scores(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _scores_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*sampled_scores_backward(grad, *ctx.saved_tensors), None)


def refuse_second_derivative(ctx: Any, *grads: Tensor) -> NoReturn:
    """The backward of every backward here."""
    raise RuntimeError("astr's operators cannot be differentiated twice; call backward without create_graph")


def register_autocast(op: Any, casts: int = 0, full: bool = False) -> None:
    """Run `op` outside of autocast; its first `casts` arguments take autocast's dtype first, or float32 if `full`.

    Float64 stays, as by torch's own rules. (torch.library.register_autocast knows one dtype only, and is
    younger than the oldest torch that astr supports.)
    """
    for key, device_type in (("AutocastCPU", "cpu"), ("AutocastCUDA", "cuda")):

        def cast(*arguments: Any, device_type: str = device_type) -> Any:
            dtype = torch.float32 if full else torch.get_autocast_dtype(device_type)
            low = [x if x.dtype == torch.float64 else x.to(dtype) for x in arguments[:casts]]
            with torch.autocast(device_type, enabled=False):
                return op(*low, *arguments[casts:])

        torch.library.impl(op.name(), key)(cast)


torch.library.register_autograd(sparse_attention.name(), _attention_gradient, setup_context=_keep_attention)
torch.library.register_autograd(sampled_scores.name(), _scores_gradient, setup_context=_keep_scores)
register_autocast(sparse_attention, casts=3)
register_autocast(sampled_scores, casts=2)
for _backward in (sparse_attention_backward, sampled_scores_backward):
    torch.library.register_autograd(_backward.name(), refuse_second_derivative)
    register_autocast(_backward)


_INPUTS = "Tensor features0, Tensor features1, Tensor? mask0, Tensor? mask1"


@custom_op("score_sums", f"({_INPUTS}) -> (Tensor, Tensor)")
def score_sums(
    features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of every row (B, N0) and of every column (B, N1) of features0 . features1."""
    return matching_backend(features0).sums(features0, features1, mask0, mask1)


@custom_op(
    "score_sums_backward",
    f"(Tensor grad_rows, Tensor grad_columns, {_INPUTS}, Tensor rows, Tensor columns) -> (Tensor, Tensor)",
)
def score_sums_backward(
    grad_rows: Tensor,
    grad_columns: Tensor,
    features0: Tensor,
    features1: Tensor,
    mask0: Tensor | None,
    mask1: Tensor | None,
    rows: Tensor,
    columns: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of both features."""
    parts = (features0, features1, mask0, mask1, rows, columns)
    return matching_backend(features0).sums_backward(grad_rows, grad_columns, *parts)


@custom_op("best_matches", f"({_INPUTS}, Tensor rows, Tensor columns) -> (Tensor, Tensor, Tensor, Tensor)")
def best_matches(
    features0: Tensor, features1: Tensor, mask0: Tensor | None, mask1: Tensor | None, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Best column of each row and its log P, best row of each column and its log P."""
    return matching_backend(features0).best(features0, features1, mask0, mask1, rows, columns)


@torch.library.register_fake(score_sums.name())
def _(features0: Tensor, features1: Tensor, *masks: object) -> tuple[Tensor, Tensor]:
    return features0.new_empty(features0.shape[:2]), features1.new_empty(features1.shape[:2])


@torch.library.register_fake(score_sums_backward.name())
def _(
    grad_rows: Tensor, grad_columns: Tensor, features0: Tensor, features1: Tensor, *rest: object
) -> tuple[Tensor, Tensor]:
    return features0.new_empty(features0.shape), features1.new_empty(features1.shape)


@torch.library.register_fake(best_matches.name())
def _(features0: Tensor, features1: Tensor, *rest: object) -> tuple[Tensor, ...]:
    sizes = [x.shape[:2] for x in (features0, features0, features1, features1)]
    dtypes = [torch.int64, features0.dtype] * 2
    return tuple(features0.new_empty(size, dtype=dtype) for size, dtype in zip(sizes, dtypes, strict=True))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _gradient(ctx: Any, grad_rows: Tensor, grad_columns: Tensor) -> tuple[Tensor | None, ...]:
    return (*score_sums_backward(grad_rows, grad_columns, *ctx.saved_tensors), None, None)


torch.library.register_autograd(score_sums.name(), _gradient, setup_context=_keep)
torch.library.register_autograd(score_sums_backward.name(), refuse_second_derivative)
for _op in (score_sums, best_matches):
    register_autocast(_op, casts=2, full=True)
register_autocast(score_sums_backward)
