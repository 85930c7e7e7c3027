"""Spot attention against its dense float64 twin, and the properties of its key sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.ops.attention import spot_attention
from astr_cli.ops.lists import spot_mask
from astr_cli.ops.reference import dense_spot_attention


def random_case(seed: int, grid: tuple[int, int], queries: int, spots: int):
    generator = torch.Generator().manual_seed(seed)
    keys = grid[0] * grid[1]
    query = torch.randn(2, 3, queries, 8, generator=generator)
    key, value = torch.randn(2, 2, 3, keys, 8, generator=generator)
    centres = torch.randint(-1, keys, (2, queries, spots), generator=generator)
    mask = torch.rand(2, keys, generator=generator) < 0.7
    return query, key, value, centres, mask


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10_000),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 20),
    st.integers(1, 5),
    st.sampled_from([1, 3, 5]),
    st.booleans(),
)
def test_equals_the_dense_twin(backend, seed, grid, queries, spots, window, with_mask):
    query, key, value, centres, mask = random_case(seed, grid, queries, spots)
    key_mask = mask if with_mask else None
    expected = dense_spot_attention(query, key, value, centres, grid, window, key_mask)
    found = spot_attention(query, key, value, centres, grid, window, key_mask)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-5)


def test_equals_the_dense_twin_across_chunks(backend):
    """More queries than one chunk of any backend has, and a mask."""
    grid = (20, 25)
    query, key, value, centres, mask = random_case(9, grid, 1100, 5)
    expected = dense_spot_attention(query, key, value, centres, grid, 5, mask)
    found = spot_attention(query, key, value, centres, grid, 5, mask)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.tuples(st.integers(1, 8), st.integers(1, 8)), st.integers(1, 90), st.integers(1, 5))
def test_gradients_equal_those_of_the_dense_twin(backend, seed, grid, queries, spots):
    query, key, value, centres, mask = random_case(seed, grid, queries, spots)
    grads = []
    for function in (spot_attention, dense_spot_attention):
        leaves = [t.clone().requires_grad_() for t in (query, key, value)]
        (function(*leaves, centres, grid, 5, mask) ** 2).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_real_head_size_and_model_layout(backend):
    """Heads of 32, as views of one projection: neither contiguous nor of equal strides; int32 centres."""
    projected = torch.randn(2, 63, 3 * 4 * 32, generator=torch.Generator().manual_seed(0))
    query, key, value = (part.unflatten(2, (4, 32)).transpose(1, 2) for part in projected.chunk(3, dim=2))
    centres = torch.randint(-1, 63, (2, 63, 5), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    expected = dense_spot_attention(query, key, value, centres, (7, 9), 5)
    found = spot_attention(query, key, value, centres, (7, 9), 5)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-5)
    assert found.transpose(1, 2).is_contiguous()  # joining the heads again is free


def test_a_key_in_two_windows_counts_once(backend):
    query, key, value, _, _ = random_case(2, (5, 5), 1, 1)
    once = spot_attention(query, key, value, torch.tensor([[[12]]] * 2), (5, 5), 3)
    twice = spot_attention(query, key, value, torch.tensor([[[12, 12, 12]]] * 2), (5, 5), 3)
    torch.testing.assert_close(once, twice, atol=0, rtol=0)
    overlapping = spot_mask(torch.tensor([[[6, 7]]]), (5, 5), 3)
    assert int(overlapping.sum()) == 12  # 3 x 4, not 18


def test_cells_outside_are_dropped_not_clamped():
    corner = spot_mask(torch.tensor([[[0]]]), (4, 5), 3)
    assert corner.nonzero()[:, 2].tolist() == [0, 1, 5, 6]
    right = spot_mask(torch.tensor([[[9]]]), (4, 5), 3)  # row 1, last column: must not wrap to the next row
    assert right.nonzero()[:, 2].tolist() == [3, 4, 8, 9, 13, 14]


def test_a_query_without_keys_gets_zeros_and_no_gradient(backend):
    query, key, value, _, _ = random_case(3, (4, 4), 2, 1)
    query.requires_grad_()
    centres = torch.tensor([[[-1, -1], [5, -1]]] * 2)
    found = spot_attention(query, key, value, centres, (4, 4), 3)
    assert (found[:, :, 0] == 0).all()
    assert (found[:, :, 1] != 0).all()
    found.square().sum().backward()
    assert query.grad is not None
    assert torch.isfinite(query.grad).all()
    assert (query.grad[:, :, 0] == 0).all()


def test_wrong_shapes_are_refused_with_expected_and_got():
    query, key, value, centres, mask = random_case(4, (4, 4), 3, 2)
    with pytest.raises(ValueError, match=r"expected 3 x 4 keys, got 16"):
        spot_attention(query, key, value, centres, (3, 4), 5)
    with pytest.raises(ValueError, match="odd window"):
        spot_attention(query, key, value, centres, (4, 4), 4)
    with pytest.raises(ValueError, match="expected centres"):
        spot_attention(query, key, value, centres[:, :2], (4, 4), 5)
    with pytest.raises(ValueError, match="expected key_mask"):
        spot_attention(query, key, value, centres, (4, 4), 5, mask[:, :3])
