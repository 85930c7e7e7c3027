"""The operators as torch sees them: custom ops that check, trace, differentiate, and follow autocast."""

import pytest
import torch
from torch.library import opcheck

from astr_cli.ops.attention import list_attention, sampled_scores, spot_attention, table_attention
from astr_cli.ops.matching import dual_softmax

ops = torch.ops.astr


def tensors(dtype=torch.float64, grad=True):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 2, 6, 4, generator=generator, dtype=dtype)
    key, value = torch.randn(2, 2, 2, 12, 4, generator=generator, dtype=dtype)
    return [x.requires_grad_(grad) for x in (query, key, value)]


CENTRES = torch.tensor([[[0, 5, -1], [-1, -1, -1], [11, 11, 3], [7, 2, 1], [4, -1, 4], [9, 8, 0]]] * 2)
MASK = torch.arange(24).view(2, 12) % 5 != 0
GRID = (3, 4)
OFFSETS, INDICES = (
    torch.tensor([0, 2, 2, 5, 6, 8, 9] + [9] * 5 + [11]),
    torch.tensor([0, 0, 3, 4, 11, 7, 1, 2, 2, 5, 5]),
)
CALLS = {
    "windows": lambda q, k, v: spot_attention(q, k, v, CENTRES, GRID, 3, MASK),
    "table": lambda q, k, v: table_attention(q, k, v, CENTRES),
    "rows": lambda q, k, v: list_attention(q, k, v, OFFSETS, INDICES),
    "scores": lambda q, k, v: sampled_scores(q, k, CENTRES),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opcheck(backend, dtype, grad):
    query, key, value = (x.detach().transpose(1, 2).requires_grad_(grad) for x in tensors(dtype))
    opcheck(ops.sparse_attention.default, (query, key, value, CENTRES, None, [*GRID, 3], MASK))
    opcheck(ops.sparse_attention.default, (query, key, value, CENTRES, None, [], None))
    opcheck(ops.sparse_attention.default, (query, key, value, INDICES, OFFSETS, [], None))
    opcheck(ops.sampled_scores.default, (query, key, CENTRES))
    f0, f1 = (x.detach().flatten(2).requires_grad_(grad) for x in (query, key))
    opcheck(ops.score_sums.default, (f0, f1, None, MASK))
    rows, columns = (x.detach() for x in ops.score_sums(f0, f1, None, MASK))
    opcheck(ops.best_matches.default, (f0.detach(), f1.detach(), None, MASK, rows, columns))


def test_opcheck_of_the_backwards(backend):
    query, key, value = (x.transpose(1, 2) for x in tensors(torch.float32, grad=False))
    lists = (CENTRES, None, [*GRID, 3], MASK)
    out, lse = ops.sparse_attention(query, key, value, *lists)
    opcheck(ops.sparse_attention_backward.default, (torch.ones_like(out), query, key, value, out, lse, *lists))
    scores = ops.sampled_scores(query, key, CENTRES)
    opcheck(ops.sampled_scores_backward.default, (torch.ones_like(scores), query, key, CENTRES))
    f0, f1 = query.flatten(2), key.flatten(2)
    sums = ops.score_sums(f0, f1, None, MASK)
    opcheck(ops.score_sums_backward.default, (*map(torch.ones_like, sums), f0, f1, None, MASK, *sums))


@pytest.mark.parametrize("name", CALLS)
def test_gradcheck(name):
    torch.autograd.gradcheck(CALLS[name], tensors())


def test_gradcheck_of_the_dual_softmax():
    f0, f1, _ = (x.detach().flatten(2).requires_grad_() for x in tensors())
    torch.autograd.gradcheck(lambda a, b: ops.score_sums(a, b, None, MASK[:, :2]), (f0[..., :24], f1[..., :24]))


@pytest.mark.parametrize("name", CALLS)
def test_compiles_into_one_graph(backend, name):
    leaves = tensors(torch.float32)
    plain = CALLS[name](*leaves)
    expected = torch.autograd.grad(plain.square().sum(), leaves[:2])
    traced = torch.compile(CALLS[name], fullgraph=True, backend="aot_eager")(*leaves)
    torch.testing.assert_close(traced, plain, atol=0, rtol=0)
    for grad, other in zip(torch.autograd.grad(traced.square().sum(), leaves[:2]), expected, strict=True):
        torch.testing.assert_close(grad, other, atol=0, rtol=0)


def test_the_dual_softmax_compiles_into_one_graph(backend):
    def loss(f0, f1, scale):
        entries = torch.arange(2), torch.arange(2), torch.arange(2) + 1
        return dual_softmax(f0, f1, scale, MASK[:, :6], MASK).at(*entries).sum()

    generator = torch.Generator().manual_seed(1)
    leaves = [torch.randn(2, n, 5, generator=generator, requires_grad=True) for n in (6, 12)]
    leaves.append(torch.tensor(0.7, requires_grad=True))
    expected = torch.autograd.grad(loss(*leaves), leaves)
    found = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*leaves), leaves)
    for grad, other in zip(found, expected, strict=True):
        torch.testing.assert_close(grad, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_second_derivatives_are_refused(name):
    leaves = tensors()
    (slope,) = torch.autograd.grad(CALLS[name](*leaves).square().sum(), leaves[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated twice"):
        slope.sum().backward()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_decides_the_dtype(backend, name, dtype):
    leaves = tensors(torch.float32)
    plain = CALLS[name](*leaves)
    with torch.autocast("cpu", dtype):
        found = CALLS[name](leaves[0], leaves[1].to(dtype), leaves[2])
        (grad,) = torch.autograd.grad(found.float().sum(), leaves[:1])
    assert (found.dtype, grad.dtype) == (dtype, torch.float32)
    torch.testing.assert_close(found.float(), plain, atol=0.05, rtol=0.05)


def test_autocast_leaves_the_dual_softmax_in_float32(backend):
    f0, f1 = torch.randn(2, 1, 30, 16, generator=torch.Generator().manual_seed(2))
    plain = dual_softmax(f0, f1, torch.tensor(1.0))
    with torch.autocast("cpu", torch.bfloat16):
        found = dual_softmax(f0, f1, torch.tensor(1.0))
        torch.testing.assert_close(found.best()[0].log_p, plain.best()[0].log_p, atol=0, rtol=0)
    torch.testing.assert_close(found.rows, plain.rows, atol=0, rtol=0)
