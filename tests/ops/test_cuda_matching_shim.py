"""The kernels of cuda/matching.cu, run on this CPU by shim/, against torch's path in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.ops.cuda_matching import CudaMatching
from astr_cli.ops.torch_matching import IMPOSSIBLE

from .shim.host import Host, require_compiler
from .shim.matching_cases import Case, check, exact, random_case


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    require_compiler()
    return Host(tmp_path_factory.mktemp("matching"))


@pytest.fixture(autouse=True)
def poisoned():
    """New tensors are full of NaN: what a kernel forgets to write shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("masked", [True, False], ids=["masks", "no masks"])
@pytest.mark.parametrize("channels", [32, 128, 160, 256])
def test_sums_and_best_partners_equal_float64(host, channels, masked):
    """More rows than a block has, none of its sizes filled; more columns than go at a time."""
    check(CudaMatching(host.launch), random_case((141, 83), channels, masked=masked))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(1, 80), st.booleans())
def test_any_case_equals_float64(host, seed, count0, count1, masked):
    check(CudaMatching(host.launch), random_case((count0, count1), 32, seed, masked))


def test_best_partners_are_those_of_the_matrix(host):
    """Cells, not only values, where nothing is equal; both directions agree on who is mutual."""
    case = random_case((90, 70), 64, masked=False)
    kernels = CudaMatching(host.launch)
    cells0, log_p0, cells1, log_p1 = kernels.best(*case, *kernels.sums(*case))
    _, _, log_p = exact(case)
    assert torch.equal(cells0, log_p.argmax(dim=2))
    assert torch.equal(cells1, log_p.argmax(dim=1))
    mutual = cells1.gather(1, cells0) == torch.arange(90)
    assert mutual.sum() > 60
    torch.testing.assert_close(log_p0[mutual], log_p1.gather(1, cells0)[mutual], atol=2e-5, rtol=1e-5)


def test_the_first_of_equals_is_best(host):
    """Columns that are copies of each other, in other lanes, blocks and goes."""
    case = random_case((40, 8), 32, masked=False)
    copies = case._replace(features1=case.features1.repeat(1, 20, 1))
    kernels = CudaMatching(host.launch)
    cells0, _, _, _ = kernels.best(*copies, *kernels.sums(*copies))
    assert (cells0 < 8).all()
    assert len(cells0.unique()) > 4


def test_the_same_bits_whatever_runs_first_and_beside(host):
    """With lanes in the opposite order; one pair at a time; the columns' sums as rows of the exchanged pair."""
    case = random_case((75, 130), 64)
    kernels = CudaMatching(host.launch)
    sums = kernels.sums(*case)
    best = kernels.best(*case, *sums)
    host.backwards = True
    try:
        assert all(map(torch.equal, kernels.sums(*case), sums))
        assert all(map(torch.equal, kernels.best(*case, *sums), best))
    finally:
        host.backwards = False
    for item in range(2):
        one = Case(*(x[item : item + 1] for x in case))
        own = [x[item : item + 1] for x in sums]
        assert all(map(torch.equal, kernels.sums(*one), own))
        assert all(torch.equal(x, y[item : item + 1]) for x, y in zip(kernels.best(*one, *own), best, strict=True))
    turned = Case(case.features1, case.features0, case.mask1, case.mask0)
    assert all(map(torch.equal, kernels.sums(*turned), reversed(sums)))


def test_ends_of_the_scale(host):
    """No cells at all; nothing that counts; scores that only their differences keep from overflow; more than a half."""
    kernels = CudaMatching(host.launch)
    some, none = torch.ones(2, 3, 32), torch.ones(2, 0, 32)
    rows, columns = kernels.sums(some, none, None, None)
    assert (rows == IMPOSSIBLE / 2).all()
    assert columns.shape == (2, 0)
    assert [x.shape for x in kernels.best(none, some, None, None, columns, rows)] == [(2, 0), (2, 0), (2, 3), (2, 3)]
    check(CudaMatching(host.launch), Case(some, some, torch.zeros(2, 3, dtype=torch.bool), None))
    steep = torch.eye(32)[None] * 60
    found = kernels.best(steep, steep, None, None, *kernels.sums(steep, steep, None, None))
    assert torch.equal(found[0], torch.arange(32)[None])
    torch.testing.assert_close(found[1], torch.zeros(1, 32), atol=1e-3, rtol=0)
    beyond = kernels.sums(steep * 1e5, steep, None, None)
    assert all(torch.isfinite(x).all() for x in beyond)
