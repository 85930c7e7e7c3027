"""The kernels of cuda/, run on this CPU by shim/, against the float64 twins.

What a GPU might do differently (its memory model, launches, its compiler's code) is for test_cuda_device.py.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.ops.cuda import CudaAttention, limit
from astr_cli.ops.lists import KeyLists
from astr_cli.ops.reference import dense_sampled_scores

from .shim import cases
from .shim.cases import TOLERANCE, Case, Result, assert_close, assert_same, random_case, rows_of, twin, windows_of
from .shim.host import Host, compile_text, require_compiler, run

DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: str(dtype)[6:])


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    require_compiler()
    return Host(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(autouse=True)
def poisoned():
    """New tensors are full of NaN: what a kernel forgets to write shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def kernels(host: Host, case: Case, lists: KeyLists) -> Result:
    return cases.kernels(CudaAttention(host.launch), case, lists)


@DTYPES
def test_windows_equal_the_twin(host, dtype):
    """A grid that no block fills, three heads where a warp has room for 2, 4 or 8, with a mask and without."""
    case = random_case(dtype)
    for lists in (windows_of(case), windows_of(case, mask=False)):
        assert_close(kernels(host, case, lists), twin(case, lists), TOLERANCE[dtype])


@DTYPES
def test_tables_and_rows_equal_the_twin(host, dtype):
    """Rows longer than what a warp lists at a time, with keys named many times; other numbers of queries than keys."""
    case = random_case(dtype, queries=19, keys=33, per_row=150)
    expected = twin(case, KeyLists(case.table))
    for lists in (KeyLists(case.table), KeyLists(case.table.int()), rows_of(case)):
        assert_close(kernels(host, case, lists), expected, TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("dtype", "heads", "size"),
    [
        (torch.float16, 33, 8),  # a lane a head: a full warp, and one head more
        (torch.float32, 11, 20),  # 5 of the 8 lanes of a head are used
        (torch.float32, 2, 5),  # one element a lane
        (torch.bfloat16, 2, 256),  # a warp a head
    ],
)
def test_heads_of_all_sizes(host, dtype, heads, size):
    case = random_case(dtype, heads, size, queries=6, keys=9)
    lists = KeyLists(case.table)
    assert_close(kernels(host, case, lists), twin(case, lists), TOLERANCE[dtype])


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10_000),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.integers(1, 18),
    st.integers(1, 6),
    st.booleans(),
)
def test_any_case_equals_the_twin(host, seed, grid, queries, per_row, as_windows):
    case = random_case(torch.float32, 5, 8, queries, grid[0] * grid[1], per_row, seed)
    lists = KeyLists(case.table, window=(*grid, 3), key_mask=case.mask) if as_windows else KeyLists(case.table)
    assert_close(kernels(host, case, lists), twin(case, lists), 5e-6)


def test_rows_without_keys(host):
    case = random_case(torch.float32)
    for lists in (windows_of(case), KeyLists(case.table), rows_of(case)):
        found = kernels(host, case, lists)
        seen = lists.counts(slice(0, 2), slice(0, 35), 35, 35) > 0
        blind, unseen = ~seen.any(dim=2), ~seen.any(dim=1)
        assert blind.sum() >= 2
        assert (found.out[blind] == 0).all()
        assert (found.lse[blind] == -torch.inf).all()
        assert (found.grad_query[blind] == 0).all()
        assert (found.grad_key[unseen] == 0).all()
        assert (found.grad_value[unseen] == 0).all()
    assert not windows_of(case).key_mask.all()


def test_one_key_is_handed_through(host):
    case = random_case(torch.float16, per_row=1)
    found = kernels(host, case, KeyLists(case.table))
    item, row, _ = (case.table >= 0).nonzero(as_tuple=True)
    assert len(row) > 40
    assert torch.equal(found.out[item, row], case.value[item, case.table[item, row, 0]])
    assert (found.grad_query[item, row].abs() < 1e-2).all()


def test_nothing_to_do(host):
    """No queries, no keys, no lists: no launch, and zeros."""
    for queries, keys, per_row in ((0, 35, 5), (35, 0, 5), (35, 35, 0)):
        case = random_case(torch.float32)
        counts = (queries, keys, keys, queries, queries, keys)
        case = Case(*(x[:, :count] for x, count in zip(case, counts, strict=True)))
        lists = KeyLists(case.table[..., :per_row])
        found = kernels(host, case, lists)
        assert (found.lse == -torch.inf).all()
        assert all((x == 0).all() for x in (found.out, *found[2:]))


def test_windows_equal_their_expanded_table_to_the_last_bit(host):
    """Cells in the order of the windows, each with the first window that has it."""
    case = random_case(torch.float32)
    table = torch.full((2, 35, 125), -1)
    for item, row in torch.cartesian_prod(torch.arange(2), torch.arange(35)).tolist():
        cells: dict[int, None] = {}
        for centre in case.table[item, row].tolist():
            steps = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)] if centre >= 0 else []
            near = [(centre // 7 + dy, centre % 7 + dx) for dy, dx in steps]
            cells |= {y * 7 + x: None for y, x in near if 0 <= y < 5 and 0 <= x < 7 and case.mask[item, y * 7 + x]}
        table[item, row, : len(cells)] = torch.tensor(list(cells))
    windows, expanded = kernels(host, case, windows_of(case)), kernels(host, case, KeyLists(table))
    assert_same(Result(*windows[:3], *expanded[3:]), expanded)
    assert_close(
        windows, Result(*(x.double() for x in expanded)), 2e-6
    )  # gradients of keys sum over the queries of one cell after the other


def test_the_same_bits_whatever_runs_first(host):
    """Twice; with lanes in the opposite order, which a missing __syncwarp would not survive; one item at a time."""
    case = random_case(torch.float32, per_row=5)
    for lists in (windows_of(case), KeyLists(case.table), rows_of(case)):
        first = kernels(host, case, lists)
        assert_same(kernels(host, case, lists), first)
        host.backwards = True
        try:
            assert_same(kernels(host, case, lists), first)
        finally:
            host.backwards = False
    second = Case(*(x[1:] for x in case))
    whole, alone = kernels(host, case, windows_of(case)), kernels(host, second, windows_of(second))
    assert_same(alone, Result(*(x[1:] for x in whole)))


def test_views_of_a_projection(host):
    """Rows of a wider tensor, keys and values at different strides, misaligned, expanded: read in place, or copied."""
    case = random_case(torch.float16, heads=4)
    expected = kernels(host, case, windows_of(case))
    wide = torch.full((2, 35, 3, 4, 32), torch.nan, dtype=torch.float16)
    wide[:, :, 0], wide[:, :, 2] = case.query, case.key
    odd = torch.full((case.value.numel() + 1,), torch.nan, dtype=torch.float16)
    odd[1:] = case.value.flatten()
    swapped = case.grad.transpose(1, 2).contiguous().transpose(1, 2)
    views = case._replace(query=wide[:, :, 0], key=wide[:, :, 2], value=odd[1:].view(case.value.shape), grad=swapped)
    assert_same(kernels(host, views, windows_of(case)), expected)
    one = case.grad[:1, :1, :1, :1].expand_as(case.grad)
    assert_same(
        kernels(host, case._replace(grad=one), windows_of(case)),
        kernels(host, case._replace(grad=one.clone()), windows_of(case)),
    )


def test_nothing_outside_is_read(host):
    """Indices of keys that do not exist, in lists and among centres; the rows around the tensors are NaN."""
    case = random_case(torch.float32)
    fenced = []
    for x in case[:4]:
        fence = torch.full((4, *x.shape[1:]), torch.nan)
        fence[1:3] = x
        fenced.append(fence[1:3])
    wild = case.table.clone()
    wild[:, ::3, 1] = 35
    wild[:, ::4, 2] = 2**31 - 1
    wild[:, ::5, 3] = -(2**31)
    tame = case._replace(table=wild.masked_fill(wild >= 35, -1))
    wild_case = Case(*fenced, wild, case.mask)
    for lists in (windows_of, lambda c: KeyLists(c.table)):
        assert_same(kernels(host, wild_case, lists(wild_case)), kernels(host, tame, lists(tame)))


def test_torn_offsets_stay_inside_their_list(host):
    """Offsets that fall and point outside: each row is cut to what there is; behind both ends lie real keys."""
    case = random_case(torch.float32, queries=6, per_row=4)
    fence = torch.zeros(148, dtype=torch.int32)
    indices = fence[50:98]
    indices[:] = case.table.flatten()
    offsets = torch.tensor([-40, 3, 90, 7, 7, 48, 46, 20, 30, 49, -1, 60, 48])
    table = torch.full((2, 6, 48), -1)
    for row, (begin, end) in enumerate(zip(offsets[:-1].clamp(0, 48), offsets[1:].clamp(0, 48), strict=True)):
        kept = indices[begin:end]
        table[row // 6, row % 6, : len(kept)] = kept
    torn, cut = kernels(host, case, KeyLists(indices, offsets)), kernels(host, case, KeyLists(table))
    assert (table >= 0).sum() > 60
    assert torch.equal(torn.out, cut.out)
    assert torch.equal(torn.lse, cut.lse)
    assert not any(x.isnan().any() for x in torn[2:])


@DTYPES
def test_results_are_rounded_as_torch_rounds(host, dtype):
    """The mean of two values is exact until then, and often half way between two neighbours."""
    case = random_case(dtype, heads=8, queries=1, keys=2, per_row=2)
    extremes = torch.tensor([6e-8, 1e-7, 3e-5, 65504.0, 1e-30, torch.nan, -0.0, 2.0**-140]).to(dtype)
    case.value[0, :, 0, :8] = extremes
    case.value[0, 1, 1, :8] = extremes
    case = case._replace(query=torch.zeros_like(case.query), table=torch.tensor([[[0, 1]]] * 2))
    found = kernels(host, case, KeyLists(case.table)).out[:, 0]
    real = torch.promote_types(dtype, torch.float32)
    expected = (case.value.to(real).sum(dim=1) / 2).to(dtype)
    torch.testing.assert_close(found, expected, atol=0, rtol=0, equal_nan=True)
    case.value[1, 1] = torch.inf  # what overflowed stays where it can be seen, if as NaN
    assert not kernels(host, case, KeyLists(case.table)).out[1].isfinite().any()


@DTYPES
def test_sampled_scores_equal_the_twin(host, dtype):
    case = random_case(dtype, queries=18, keys=9, per_row=7)
    case.table[0, 1, 1] = 9  # no such key
    table = case.table.masked_fill(case.table >= 9, -1)
    attention = CudaAttention(host.launch)
    found = attention.scores(case.query, case.key, case.table)
    leaves = [x.transpose(1, 2).double().requires_grad_() for x in case[:2]]
    expected = dense_sampled_scores(*leaves, table)
    grad = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    slopes = torch.autograd.grad(expected, leaves, grad.double())
    torch.testing.assert_close(found.double(), expected, atol=8 * TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    assert (found.transpose(1, 2)[(table < 0)[:, :, None].expand(-1, -1, 3, -1)] == 0).all()
    for x, y in zip(attention.scores_backward(grad, case.query, case.key, case.table), slopes, strict=True):
        torch.testing.assert_close(x.transpose(1, 2).double(), y, atol=8 * TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def test_what_the_kernels_cannot_serve():
    def case(size=32, dtype=torch.float32, batch=1, lists=(1, 5), window=()):
        x = torch.empty(batch, 1, 2, size, dtype=dtype, device="meta")
        return limit(x, x, KeyLists(torch.empty(batch, *lists, dtype=torch.int32, device="meta"), window=window))

    assert case() is case(window=(4, 4, 31)) is case(lists=(1, 32), window=(4, 4, 5)) is None
    assert "float8" in case(dtype=torch.float8_e4m3fn)
    assert case(size=128) is None
    assert case(size=256, dtype=torch.bfloat16) is None
    assert "heads of 256 torch.float32 are too long" in case(size=256)
    assert "too long" in case(size=257, dtype=torch.bfloat16)
    assert "at most 32 windows" in case(window=(4, 4, 33))
    assert "at most 32 windows" in case(lists=(1, 33), window=(4, 4, 5))
    assert "32 bits" in case(batch=2**16)
    assert "32 bits" in case(lists=(1, 2**30))


DIVERGENT = """
extern "C" __global__ void mixed_up(int* out) {
    if (threadIdx.x % 32 < 7) __syncwarp();
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x, 1);
}

extern "C" __global__ void left_out(int* out) {
    if (threadIdx.x % 32 < 31) out[threadIdx.x] = __shfl_sync(0xffffffffu, threadIdx.x, 0);
}

extern "C" __global__ void masked(int* out) { out[threadIdx.x] = __ballot_sync(1u, threadIdx.x); }
"""


def test_the_shim_finds_warps_that_fall_apart(tmp_path):
    require_compiler()
    library, out = compile_text(DIVERGENT, tmp_path, "divergent"), torch.zeros(512, dtype=torch.int32)
    for kernel, message in (
        ("mixed_up", "lane 0 waits at __syncwarp.*, but lane 7 waits at __shfl_xor_sync"),
        ("left_out", "lane 0 waits at __shfl_sync.*, but lane 31 has ended"),
        ("masked", "leaves lanes out"),
    ):
        with pytest.raises(RuntimeError, match=message):
            run(library, kernel, (1, 1, 1), [out])
    with pytest.raises(RuntimeError, match="expected 1 arguments"):
        run(library, "masked", (1, 1, 1), [out, 3])
