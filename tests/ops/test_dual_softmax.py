"""The matching matrix against its float64 twin: values, gradient, masks, best partners."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.ops.matching import dual_softmax
from astr_cli.ops.reference import dense_log_dual_softmax


def random_features(seed: int, n0: int, n1: int):
    generator = torch.Generator().manual_seed(seed)
    f0, f1 = torch.randn(2, n0, 6, generator=generator), torch.randn(2, n1, 6, generator=generator)
    mask0, mask1 = torch.rand(2, n0, generator=generator) < 0.8, torch.rand(2, n1, generator=generator) < 0.8
    return f0, f1, mask0, mask1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 20), st.booleans(), st.booleans())
def test_equals_the_dense_twin(backend, seed, n0, n1, masked0, masked1):
    f0, f1, mask0, mask1 = random_features(seed, n0, n1)
    masks = (mask0 if masked0 else None, mask1 if masked1 else None)
    scale = torch.tensor(1.7)
    expected = dense_log_dual_softmax(f0, f1, scale, *masks)
    found = dual_softmax(f0, f1, scale, *masks)
    possible = torch.isfinite(expected)
    torch.testing.assert_close(found.log_p()[possible].double(), expected[possible], atol=2e-5, rtol=1e-5)
    assert (found.log_p()[~possible].exp() == 0).all()
    for best, dim in zip(found.best(), (2, 1), strict=True):
        values = expected.max(dim=dim).values
        some = torch.isfinite(values)
        torch.testing.assert_close(best.log_p[some].double(), values[some], atol=2e-5, rtol=1e-5)
        assert (best.log_p[~some].exp() == 0).all()


def test_gradient_at_entries_equals_the_twins(backend):
    f0, f1, mask0, _ = random_features(5, 9, 11)
    mask0[:, :4] = True
    entries = (torch.tensor([0, 1, 1]), torch.tensor([0, 3, 2]), torch.tensor([5, 10, 2]))
    scale = torch.tensor(1.3)
    leaves = [f0.clone().requires_grad_(), f1.clone().requires_grad_()]
    dual_softmax(*leaves, scale, mask0).at(*entries).sum().backward()
    twins = [f0.clone().requires_grad_(), f1.clone().requires_grad_()]
    dense_log_dual_softmax(*twins, scale, mask0)[entries].sum().backward()
    for leaf, twin in zip(leaves, twins, strict=True):
        torch.testing.assert_close(leaf.grad, twin.grad, atol=1e-5, rtol=1e-4)


@pytest.fixture
def small_tiles(backend, monkeypatch):
    """Tiles of 16 rows, the fewest there are: what is tested here has several."""
    module = "torch_matching.CPU_SCORES" if backend == "torch" else "numba_matching.SCORES"
    monkeypatch.setattr(f"astr_cli.ops.{module}", 1)


@pytest.mark.parametrize("asked", [1, 9, 70])
def test_sums_and_gradients_over_several_tiles(backend, small_tiles, asked):
    """Few cells have a gradient, or all of them; not the same ones in both items."""
    f0, f1, _, mask1 = random_features(7, 70, 83)
    generator = torch.Generator().manual_seed(1)
    batch = torch.arange(2).repeat_interleave(asked)
    cells0 = torch.cat([torch.randperm(70, generator=generator)[:asked] for _ in range(2)])
    cells1 = torch.cat([mask1[item].nonzero()[:, 0][torch.arange(asked) % mask1[item].sum()] for item in range(2)])
    weights = torch.randn(2 * asked, generator=generator)
    grads = []
    for attend, tensors in ((dual_softmax, (f0, f1)), (dense_log_dual_softmax, (f0.double(), f1.double()))):
        leaves = [x.clone().requires_grad_() for x in tensors]
        found = attend(*leaves, torch.tensor(1.3), None, mask1)
        log_p = found.at(batch, cells0, cells1) if attend is dual_softmax else found[batch, cells0, cells1]
        (log_p * weights).sum().backward()
        grads.append([log_p.detach(), *(leaf.grad for leaf in leaves)])
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-4)


def test_best_partners_over_several_tiles(backend, small_tiles):
    generator = torch.Generator().manual_seed(8)
    matching = dual_softmax(*torch.randn(2, 1, 150, 6, generator=generator), torch.tensor(2.0))
    for best, dim in zip(matching.best(), (2, 1), strict=True):
        expected = matching.log_p().max(dim=dim)
        torch.testing.assert_close(best.log_p, expected.values, atol=1e-5, rtol=0)
        assert (best.cells == expected.indices).all()
        assert best.cells.max() > 140


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="expected features"):
        dual_softmax(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"expected a bool mask \(2, 3\), got torch.bool \(2, 4\)"):
        features = torch.zeros(2, 3, 4)
        dual_softmax(features, features, torch.tensor(1.0), torch.ones(2, 4, dtype=torch.bool))


def test_ends_of_the_scale(backend):
    """No cell at all, one cell, and scores that only differences of the exponents keep from overflow."""
    nothing = dual_softmax(torch.zeros(2, 0, 4), torch.zeros(2, 3, 4), torch.tensor(1.0))
    assert [x.shape for x in (nothing.best()[0].cells, nothing.best()[1].cells)] == [(2, 0), (2, 3)]
    one = dual_softmax(torch.ones(1, 1, 4), torch.ones(1, 1, 4), torch.tensor(1.0))
    assert one.best()[0].log_p.item() == pytest.approx(0.0, abs=1e-6)
    large = torch.eye(8)[None] * 40
    matching = dual_softmax(large, large, torch.tensor(1.0))
    assert torch.equal(matching.best()[0].cells, torch.arange(8)[None])
    torch.testing.assert_close(matching.best()[0].log_p, torch.zeros(1, 8), atol=1e-3, rtol=0)
