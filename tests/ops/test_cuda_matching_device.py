"""The kernels of cuda/matching.cu on a GPU: `pytest -m gpu`."""

from __future__ import annotations

import pytest
import torch

from astr_cli.ops.backends import CUDA_MATCHING, TORCH_MATCHING, VARIABLE, matching_backend
from astr_cli.ops.cuda_matching import OLDEST, CudaMatching, problem
from astr_cli.ops.matching import dual_softmax

from .shim.matching_cases import check, random_case

ON_NVIDIA = torch.version.cuda is not None and torch.cuda.is_available()
ON_AMPERE = ON_NVIDIA and torch.cuda.get_device_capability() >= OLDEST
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not ON_AMPERE, reason="no NVIDIA GPU of compute capability 8.0")]


@pytest.fixture(autouse=True)
def products():
    """The precision that the kernels are for; no test passes by falling back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "cuda")
        torch.set_float32_matmul_precision("high")
        yield
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("masked", [True, False], ids=["masks", "no masks"])
@pytest.mark.parametrize("channels", [32, 128, 160, 256])
def test_sums_and_best_partners_equal_float64(channels, masked):
    check(CudaMatching(), random_case((141, 83), channels, masked=masked), "cuda")


@pytest.mark.parametrize("channels", [128, 256])
def test_a_real_size_equals_float64_and_its_own_bits(channels):
    case = random_case((60 * 80, 52 * 104), channels)
    check(CudaMatching(), case, "cuda")
    there = [x.cuda() for x in case]
    first = CudaMatching().sums(*there)
    for _ in range(3):
        again = CudaMatching().sums(*there)
        assert all(map(torch.equal, again, first))
        assert all(map(torch.equal, CudaMatching().best(*there, *again), CudaMatching().best(*there, *first)))


def test_they_serve_where_products_may_be_rounded():
    assert problem() is None
    features = torch.zeros(1, 8, 128, device="cuda")
    assert matching_backend(features) is CUDA_MATCHING
    assert matching_backend(torch.zeros(1, 8, 40, device="cuda")) is TORCH_MATCHING
    torch.set_float32_matmul_precision("highest")
    assert matching_backend(features) is TORCH_MATCHING


def test_gradients_equal_torchs(monkeypatch):
    """The forward by the kernels, the backward by torch, against torch alone."""
    case = random_case((130, 90), 128, masked=False)
    entries = (torch.tensor([0, 1, 1]), torch.tensor([4, 33, 90]), torch.tensor([4, 33, 7]))

    def gradients() -> list[torch.Tensor]:
        leaves = [x.cuda().requires_grad_() for x in case[:2]]
        dual_softmax(*leaves, torch.tensor(1.0, device="cuda")).at(*(x.cuda() for x in entries)).sum().backward()
        return [leaf.grad for leaf in leaves]

    found = gradients()
    monkeypatch.setenv(VARIABLE, "torch")
    for x, y in zip(found, gradients(), strict=True):
        torch.testing.assert_close(x, y, atol=2e-2, rtol=2e-2)


def test_nothing_waits_for_the_gpu():
    there = [x.cuda() for x in random_case((141, 83), 128)]
    CudaMatching().best(*there, *CudaMatching().sums(*there))
    torch.cuda.set_sync_debug_mode("error")
    try:
        CudaMatching().best(*there, *CudaMatching().sums(*there))
    finally:
        torch.cuda.set_sync_debug_mode("default")
