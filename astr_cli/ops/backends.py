"""Chooses the implementation for a tensor: ASTR_ATTENTION = auto, torch, numba or cuda.

auto uses the CUDA kernels for tensors on a GPU, numba's loops for those on a CPU, and, where these are not available,
plain torch, which is exact and runs everywhere: silently on a CPU, with one warning on a GPU. A backend named in
ASTR_ATTENTION that is not available is an error. Float64 always uses torch.
"""

import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.errors import AstrError
from astr_cli.ops import cuda, cuda_matching, torch_attention, torch_matching
from astr_cli.ops.lists import KeyLists

VARIABLE = "ASTR_ATTENTION"
CHOICES = ("auto", "torch", "numba", "cuda")


class BackendError(AstrError, ValueError):
    """ASTR_ATTENTION names a backend that does not exist or is not available."""


class AttentionBackend(NamedTuple):
    """One implementation of the attention operators; tensors (B, N, H, D), results in the dtypes of the inputs.

    The log-sum-exps that `attend` returns are only for its own `attend_backward`.
    """

    attend: Callable[[Tensor, Tensor, Tensor, KeyLists], tuple[Tensor, Tensor]]
    attend_backward: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, KeyLists], tuple[Tensor, Tensor, Tensor]]
    scores: Callable[[Tensor, Tensor, Tensor], Tensor]
    scores_backward: Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class MatchingBackend(NamedTuple):
    """One implementation of the streaming dual softmax: see `torch_matching`."""

    sums: Callable[..., tuple[Tensor, Tensor]]
    sums_backward: Callable[..., tuple[Tensor, Tensor]]
    best: Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


TORCH_ATTENTION = AttentionBackend(
    torch_attention.attend, torch_attention.attend_backward, torch_attention.scores, torch_attention.scores_backward
)
TORCH_MATCHING = MatchingBackend(torch_matching.sums, torch_matching.sums_backward, torch_matching.best)
_ATTENTION, _MATCHING = cuda.CudaAttention(), cuda_matching.CudaMatching()
CUDA_ATTENTION = AttentionBackend(
    _ATTENTION.attend, _ATTENTION.attend_backward, _ATTENTION.scores, _ATTENTION.scores_backward
)
CUDA_MATCHING = MatchingBackend(_MATCHING.sums, torch_matching.sums_backward, _MATCHING.best)


def attention_backend(query: Tensor, key: Tensor, lists: KeyLists) -> AttentionBackend:
    """The attention operators for inputs like these; lists of scores are a table. Raises BackendError."""
    chosen = backend_name(query.device.type, query.dtype)
    if chosen == "cuda":
        problem = cuda.limit(query, key, lists)
        if problem is None:
            return CUDA_ATTENTION
        _fall_back("cuda", problem)
    return _numba()[0] if chosen == "numba" else TORCH_ATTENTION


def matching_backend(features: Tensor) -> MatchingBackend:
    """The dual softmax for features (B, N, C) like these. Raises BackendError.

    On a GPU, features that the kernels do not support silently use torch.
    """
    chosen = backend_name(features.device.type, features.dtype)
    if chosen == "cuda" and cuda_matching.serves(features):
        problem = cuda_matching.problem()
        if problem is None:
            return CUDA_MATCHING
        _fall_back("cuda", problem)
    return _numba()[1] if chosen == "numba" else TORCH_MATCHING


def backend_name(device_type: str, dtype: torch.dtype) -> str:
    """torch, numba or cuda: the backend for tensors of this kind. Raises BackendError."""
    asked = os.environ.get(VARIABLE, "auto")
    if asked not in CHOICES:
        raise BackendError(f"{VARIABLE} is {asked!r}; set it to {', '.join(CHOICES[:-1])} or {CHOICES[-1]}")
    if asked == "torch" or dtype == torch.float64:
        return "torch"
    natural = {"cpu": "numba", "cuda": "cuda"}.get(device_type, "torch")
    if asked not in ("auto", natural):
        raise BackendError(f"{VARIABLE}={asked} does not support tensors on {device_type}; set it to auto")
    if natural == "torch":
        return "torch"
    problem = numba_problem() if natural == "numba" else cuda_problem()
    if problem is None:
        return natural
    _fall_back(natural, problem)
    return "torch"


def _fall_back(backend: str, problem: str) -> None:
    """Warn that torch replaces `backend`, or raise BackendError if ASTR_ATTENTION names that backend."""
    if os.environ.get(VARIABLE, "auto") != "auto":
        raise BackendError(f"{VARIABLE}={backend}, but {problem}; set it to auto")
    if backend == "cuda":
        _warn_once(problem)


def cuda_problem() -> str | None:
    """Why the CUDA kernels cannot be used; None = they can. They are compiled and tried here for the first time."""
    return cuda.problem()


@cache
def numba_problem() -> str | None:
    """Why numba's loops cannot be used; None = they can. numba is imported, and tried, here for the first time."""
    try:
        _try_numba()
    except Exception as error:  # numba fails in its own many ways: no wheel, no LLVM for this CPU, a full disk
        return f"numba does not work here ({type(error).__name__}: {' '.join(str(error).split())})"
    return None


def _try_numba() -> None:
    attention, matching = _numba()
    x = torch.ones(1, 1, 1, 32)
    out, _ = attention.attend(x, x, x, KeyLists(torch.zeros(1, 1, 1, dtype=torch.int32)))
    rows, _ = matching.sums(x[0], x[0], None, None)
    if not (torch.equal(out, x) and abs(float(rows) - 32.0) < 1e-3):
        raise ArithmeticError("a first trial gave wrong numbers")


@cache
def _numba() -> tuple[AttentionBackend, MatchingBackend]:
    from astr_cli.ops import numba_attention as attention
    from astr_cli.ops import numba_matching as matching

    return (
        AttentionBackend(attention.attend, attention.attend_backward, attention.scores, attention.scores_backward),
        MatchingBackend(matching.sums, matching.sums_backward, matching.best),
    )


@cache
def _warn_once(problem: str) -> None:
    warnings.warn(f"astr uses torch's slower code on the GPU: {problem}", RuntimeWarning, stacklevel=2)
