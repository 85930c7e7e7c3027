"""The matching matrix against its float64 twin: values, gradient, masks, best partners."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.ops import dual_softmax
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


def test_best_partners_across_chunks(backend):
    generator = torch.Generator().manual_seed(8)
    matching = dual_softmax(*torch.randn(2, 1, 700, 6, generator=generator), torch.tensor(2.0))
    for best, dim in zip(matching.best(), (2, 1), strict=True):
        expected = matching.log_p().max(dim=dim)
        torch.testing.assert_close(best.log_p, expected.values, atol=0, rtol=0)
        assert (best.cells == expected.indices).all()


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
