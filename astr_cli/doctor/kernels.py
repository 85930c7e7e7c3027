"""The implementations of the operators: each computes a small case, and is compared with the plain twin in float64."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from astr_cli.doctor.finding import Finding, explained, note, ok, problem

VARIABLE = "ASTR_ATTENTION"
TOLERANCE = 1e-3
HALVES = 0.05  # the dual softmax of a GPU rounds its factors to halves


class Difference(NamedTuple):
    """The largest differences from the twins."""

    attention: float
    matching: float
    """Of log probabilities."""


def check_choice() -> Iterator[Finding]:
    """Whether ASTR_ATTENTION names an implementation that there is."""
    from astr_cli.ops.backends import CHOICES

    chosen = os.environ.get(VARIABLE, "auto")
    todo = f"Unset {VARIABLE}, so that astr takes the fastest kernels that work."
    if chosen not in CHOICES:
        yield problem("kernels", f"{VARIABLE} is {chosen!r}, which is none of {', '.join(CHOICES)}", todo)
    elif chosen != "auto":
        yield note("kernels", f"{VARIABLE} allows {chosen} only", todo)


def check_torch() -> Iterator[Finding]:
    """The operators in plain torch."""
    yield _compared("torch", "cpu", "Install PyTorch again.")


def check_numba() -> Iterator[Finding]:
    """The operators as loops for a CPU."""
    from astr_cli.ops.backends import numba_problem

    reason = numba_problem()
    if reason is not None:
        yield note("kernels: numba", f"{reason}; torch computes instead, slower", "pip install --upgrade numba")
        return
    yield _compared("numba", "cpu", f"Set {VARIABLE}=torch, and report this as a bug of astr.")


def check_cuda() -> Iterator[Finding]:
    """The operators on an NVIDIA GPU; nothing where torch finds none."""
    import torch

    from astr_cli.ops.backends import cuda_problem

    if not torch.cuda.is_available():
        return
    reason = cuda_problem()
    if reason is not None:
        todo = "Install what the line names, or do nothing: results are the same."
        yield note("kernels: cuda", f"{reason}; torch computes instead, slower", todo)
        return
    yield _compared("cuda", "cuda", f"Set {VARIABLE}=torch, and report this as a bug of astr.")


def differences(backend: str, device: str) -> Difference:
    """Attention in windows and dual softmax of random inputs, by one implementation and by the twins."""
    import torch

    from astr_cli.ops.attention import spot_attention
    from astr_cli.ops.matching import dual_softmax
    from astr_cli.ops.reference import dense_log_dual_softmax, dense_spot_attention

    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 80, 32, generator=generator).to(device)
    centres = torch.randint(-1, 80, (1, 80, 3), generator=generator).to(device)
    features = torch.randn(2, 1, 80, 64, generator=generator).to(device)
    scale = torch.tensor(0.2, device=device)
    with _only(backend):
        attended = spot_attention(query, key, value, centres, (8, 10), 5)
        best, _ = dual_softmax(features[0], features[1], scale).best()
    expected = dense_spot_attention(query, key, value, centres, (8, 10), 5)
    log_p = dense_log_dual_softmax(features[0], features[1], scale).amax(dim=2)
    return Difference(float((attended - expected).abs().max()), float((best.log_p - log_p).abs().max()))


def _compared(backend: str, device: str, todo: str) -> Finding:
    check = f"kernels: {backend}"
    try:
        found = differences(backend, device)
    except ImportError:
        raise
    except Exception as error:  # compilers and drivers fail in many ways of their own
        return problem(check, f"do not compute ({explained(error)})", todo)
    matching = HALVES if device == "cuda" else TOLERANCE
    if not (found.attention < TOLERANCE and found.matching < matching):  # not: NaN
        text = f"give wrong numbers: off by {found.attention:.1g} (attention) and {found.matching:.1g} (dual softmax)"
        return problem(check, text, todo)
    return ok(check, f"agree with the plain computation to {max(found):.0e}")


@contextmanager
def _only(backend: str) -> Iterator[None]:
    """One implementation serves; on a GPU, with products that may be rounded, as in a run."""
    import torch

    before, rounding = os.environ.get(VARIABLE), torch.get_float32_matmul_precision()
    os.environ[VARIABLE] = backend
    torch.set_float32_matmul_precision("high" if backend == "cuda" else rounding)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(rounding)
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
