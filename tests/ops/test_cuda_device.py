"""The kernels on a GPU: `pytest -m gpu`. For memory errors and races, once a change:

compute-sanitizer --tool memcheck python -m pytest -m gpu -k twin tests/ops/test_cuda_device.py; likewise racecheck.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from astr_cli.bench.window_centres import WINDOW, WRONG, realistic_centres
from astr_cli.ops import backends
from astr_cli.ops.attention import list_attention, sampled_scores, spot_attention, table_attention
from astr_cli.ops.backends import VARIABLE
from astr_cli.ops.cuda import CudaAttention, by_key
from astr_cli.ops.lists import KeyLists
from astr_cli.ops.reference import dense_sampled_scores

from .shim.cases import GRID, TOLERANCE, Case, Result, assert_close, assert_same, random_case, rows_of, twin, windows_of
from .shim.cases import kernels as kernels_by

ON_NVIDIA = torch.version.cuda is not None and torch.cuda.is_available()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not ON_NVIDIA, reason="no NVIDIA GPU")]
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype)[6:])
DEVICE = torch.device("cuda", 0)
KERNELS = CudaAttention()


@pytest.fixture(autouse=True)
def only_kernels(monkeypatch):
    """No test here passes by falling back."""
    monkeypatch.setenv(VARIABLE, "cuda")


def kernels(case: Case, lists: KeyLists) -> Result:
    """Forward and backward on the GPU, brought back. New tensors are full of NaN: what is not written shows."""
    there = KeyLists(*(x.to(DEVICE) if isinstance(x, Tensor) else x for x in lists))
    torch.use_deterministic_algorithms(True)  # only here: of torch's own paths it asks more than they can do
    try:
        found = kernels_by(KERNELS, Case(*(x.to(DEVICE) for x in case)), there)
    finally:
        torch.use_deterministic_algorithms(False)
    return Result(*(x.cpu() for x in found))


def large_case(dtype: torch.dtype) -> tuple[Case, KeyLists]:
    """A real size, on the GPU: two pairs of 60 x 80 cells, 8 heads, a tenth of the centres wrong."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(2, 4800, 8, 32, generator=generator).to(DEVICE, dtype) for _ in range(4)]
    centres = realistic_centres((60, 80), 2, WRONG, generator).to(DEVICE)
    mask = (torch.rand(2, 4800, generator=generator) < 0.9).to(DEVICE)
    return Case(*tensors, centres, mask), KeyLists(centres, window=(60, 80, WINDOW), key_mask=mask)


@DTYPES
def test_windows_equal_the_twin(dtype):
    case = random_case(dtype)
    for lists in (windows_of(case), windows_of(case, mask=False)):
        assert_close(kernels(case, lists), twin(case, lists), 2 * TOLERANCE[dtype])


@DTYPES
def test_tables_and_rows_equal_the_twin(dtype):
    case = random_case(dtype, queries=19, keys=33, per_row=150)
    expected = twin(case, KeyLists(case.table))
    for lists in (KeyLists(case.table), KeyLists(case.table.int()), rows_of(case)):
        assert_close(kernels(case, lists), expected, 2 * TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("dtype", "heads", "size"),
    [(torch.float16, 33, 8), (torch.float32, 11, 20), (torch.float32, 2, 5), (torch.bfloat16, 2, 256)],
)
def test_heads_of_all_sizes_equal_the_twin(dtype, heads, size):
    case = random_case(dtype, heads, size, queries=6, keys=9)
    lists = KeyLists(case.table)
    assert_close(kernels(case, lists), twin(case, lists), 2 * TOLERANCE[dtype])


@DTYPES
def test_sampled_scores_equal_the_twin(dtype):
    case = random_case(dtype, queries=18, keys=9, per_row=7)
    there = Case(*(x.to(DEVICE) for x in case))
    leaves = [x.transpose(1, 2).double().requires_grad_() for x in case[:2]]
    expected = dense_sampled_scores(*leaves, case.table)
    found = KERNELS.scores(there.query, there.key, there.table)
    grad = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    slopes = torch.autograd.grad(expected, leaves, grad.double())
    close = {"atol": 16 * TOLERANCE[dtype], "rtol": 2 * TOLERANCE[dtype]}
    torch.testing.assert_close(found.double().cpu(), expected, **close)
    grads = KERNELS.scores_backward(grad.to(DEVICE), there.query, there.key, there.table)
    for x, y in zip(grads, slopes, strict=True):
        torch.testing.assert_close(x.transpose(1, 2).double().cpu(), y, **close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_real_size_equals_torch_and_its_own_bits(dtype, monkeypatch):
    case, lists = large_case(dtype)
    first = kernels_by(KERNELS, case, lists)
    for _ in range(3):
        assert_same(kernels_by(KERNELS, case, lists), first)
    # In float64, by the torch path, which is tested against the twins.
    exact = Case(*(x.double() for x in case[:4]), case.table, case.mask)
    out, lse = backends.TORCH_ATTENTION.attend(*exact[:3], lists)
    grads = backends.TORCH_ATTENTION.attend_backward(exact.grad, *exact[:3], out, lse, lists)
    for x, y in zip((first.out, *first[2:]), (out, *grads), strict=True):
        torch.testing.assert_close(x.double(), y, atol=8 * TOLERANCE[dtype], rtol=4 * TOLERANCE[dtype])


def test_gradcheck():
    """By the build for doubles, which the operators themselves leave to torch."""
    case = random_case(torch.float64, heads=2, size=8, queries=6, keys=35, per_row=3)
    there = Case(*(x.to(DEVICE) for x in case))
    flat = rows_of(case)
    rows = KeyLists(flat.cells.to(DEVICE), flat.offsets.to(DEVICE))
    for lists in (windows_of(there), KeyLists(there.table), rows):
        torch.autograd.gradcheck(_differentiable(lists), [x.requires_grad_() for x in there[:3]])


def _differentiable(lists: KeyLists) -> Callable[..., Tensor]:
    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            out, lse = KERNELS.attend(query, key, value, lists)
            ctx.save_for_backward(query, key, value, out, lse)
            return out

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
            return KERNELS.attend_backward(grad, *ctx.saved_tensors, lists)

    return Attention.apply


def test_work_is_done_in_the_current_stream():
    """Inputs that are late: a kernel in any other stream would be there before them."""
    case, lists = large_case(torch.float16)
    expected = kernels_by(KERNELS, case, lists)
    for stream in (torch.cuda.Stream(), torch.cuda.default_stream()):
        late = [torch.zeros_like(x) for x in case[:4]]
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(200_000_000)
            for x, source in zip(late, case[:4], strict=True):
                x.copy_(source)
            found = kernels_by(KERNELS, Case(*late, case.table, case.mask), lists)
        stream.synchronize()
        assert_same(found, expected)


def test_nothing_waits_for_the_gpu():
    """Neither forward nor backward, nor the ordering of lists by key."""
    case, lists = large_case(torch.float16)
    small = Case(*(x.to(DEVICE) for x in random_case(torch.float16)))
    every = [(case, lists), (small, KeyLists(small.table))]
    for each in every:
        kernels_by(KERNELS, *each)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for each in every:
            kernels_by(KERNELS, *each)
        by_key(KeyLists(torch.zeros(9, dtype=torch.int32, device=DEVICE), small.table.flatten()[:71]), 2, 35, 35)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_graph_holds_the_kernels():
    case, lists = large_case(torch.float16)
    expected = kernels_by(KERNELS, case, lists)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = kernels_by(KERNELS, case, lists)
    for x in found:
        x.fill_(torch.nan)
    graph.replay()
    torch.cuda.synchronize()
    assert_same(found, expected)


def test_another_thread_can_launch():
    case = random_case(torch.float32)
    expected, found = kernels(case, windows_of(case)), []
    thread = threading.Thread(target=lambda: found.append(kernels(case, windows_of(case))))
    thread.start()
    thread.join()
    assert_same(found[0], expected)


@pytest.mark.skipif(not ON_NVIDIA or torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_another_gpu_than_the_current_one():
    case = random_case(torch.float32)
    expected = kernels(case, windows_of(case))
    there = Case(*(x.to("cuda:1") for x in case))
    assert_close(kernels_by(KERNELS, there, windows_of(there)), Result(*(x.to("cuda:1") for x in expected)), 1e-6)
    assert torch.cuda.current_device() == 0


def public_calls() -> dict[str, Callable[..., Tensor]]:
    case = random_case(torch.float32)
    table, mask, flat = case.table.to(DEVICE), case.mask.to(DEVICE), rows_of(case)
    cells, offsets = flat.cells.to(DEVICE), flat.offsets.to(DEVICE)
    return {
        "windows": lambda q, k, v: spot_attention(q, k, v, table, GRID, 5, mask),
        "table": lambda q, k, v: table_attention(q, k, v, table),
        "rows": lambda q, k, v: list_attention(q, k, v, offsets, cells),
        "scores": lambda q, k, v: sampled_scores(q, k, table) + 0 * v.sum(),
    }


@pytest.mark.parametrize("name", ["windows", "table", "rows", "scores"])
def test_the_public_functions_take_the_kernels(name, monkeypatch):
    """Forward and backward, plain, compiled into one graph, and under autocast, against torch's path."""
    call = public_calls()[name]
    case = random_case(torch.float32)
    leaves = [x.transpose(1, 2).to(DEVICE).requires_grad_() for x in case[:3]]

    def gradients(function: Callable[..., Tensor]) -> list[Tensor]:
        out = function(*leaves)
        return [out, *torch.autograd.grad(out.float().square().sum(), leaves)]

    found = gradients(call)
    traced = gradients(torch.compile(call, fullgraph=True, backend="aot_eager"))
    with torch.autocast("cuda", torch.bfloat16):
        low = gradients(call)
    monkeypatch.setenv(VARIABLE, "torch")
    for x, same, near, y in zip(found, traced, low, gradients(call), strict=True):
        torch.testing.assert_close(x, y, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(same, x, atol=0, rtol=0)
        torch.testing.assert_close(near.float(), y, atol=1.0 if name == "scores" else 0.1, rtol=0.1)
    assert low[0].dtype == torch.bfloat16


def test_opcheck():
    case = Case(*(x.to(DEVICE) for x in random_case(torch.float32)))
    query, key, value = (x.requires_grad_() for x in case[:3])
    lists = (case.table, None, [*GRID, 5], case.mask)
    opcheck(torch.ops.astr.sparse_attention.default, (query, key, value, *lists))
    opcheck(torch.ops.astr.sparse_attention.default, (query, key, value, case.table, None, [], None))
    opcheck(torch.ops.astr.sampled_scores.default, (query, key, case.table))


def test_without_kernels_torch_serves_and_says_why_once(monkeypatch):
    case = random_case(torch.float32)
    call = public_calls()["windows"]
    leaves = [x.transpose(1, 2).to(DEVICE) for x in case[:3]]
    expected = call(*leaves)
    reason = "the CUDA kernels are not available because it is raining on the device"
    monkeypatch.setattr(backends, "cuda_problem", lambda: reason)
    with pytest.raises(ValueError, match=f"ASTR_ATTENTION=cuda, but {reason}"):
        call(*leaves)
    monkeypatch.setenv(VARIABLE, "auto")
    with pytest.warns(RuntimeWarning, match=f"astr uses torch's slower code on the GPU: {reason}"):
        torch.testing.assert_close(call(*leaves), expected, atol=5e-6, rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(*leaves)
