"""The streaming dual softmax as torch.library custom ops: shapes for tracing, and gradients.

Features (B, N, C) come in float32 (or float64) with the scale folded in; autocast does not touch them.
"""

from typing import Any

import torch
from torch import Tensor

from astr_cli.ops.backends import matching_backend
from astr_cli.ops.registration import custom_op, refuse_second_derivative, register_autocast

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
