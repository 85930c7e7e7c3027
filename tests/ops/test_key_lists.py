"""Attention over tables and CSR rows, and sampled scores, against float64 twins; what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.ops.attention import list_attention, sampled_scores, spot_attention, table_attention
from astr_cli.ops.lists import spot_mask
from astr_cli.ops.reference import dense_sampled_scores, dense_spot_attention, dense_table_attention

CASES = given(
    st.integers(0, 10_000), st.integers(1, 90), st.integers(1, 12), st.integers(0, 9), st.sampled_from([8, 32])
)


def random_case(seed: int, queries: int, keys: int, most: int, size: int):
    """Few keys, so that rows name them twice; a third of the places are -1, so that some rows are empty."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(2, 3, queries, size, generator=generator)
    key, value = torch.randn(2, 2, 3, keys, size, generator=generator)
    table = torch.randint(0, keys, (2, queries, most), generator=generator)
    return query, key, value, table.masked_fill_(torch.rand(table.shape, generator=generator) < 1 / 3, -1)


def as_rows(table):
    """The same lists without the -1: offsets and indices."""
    flat = table.flatten(0, 1)
    counts = (flat >= 0).sum(dim=1)
    return torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]), flat[flat >= 0]


def gradients(function, leaves, *rest):
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    found = function(*leaves, *rest)
    return found.detach(), torch.autograd.grad(found.square().sum(), leaves)


@settings(max_examples=25, deadline=None)
@CASES
def test_tables_and_rows_equal_the_twin(backend, seed, queries, keys, most, size):
    *leaves, table = random_case(seed, queries, keys, most, size)
    expected, slopes = gradients(dense_table_attention, leaves, table)
    for found, grads in (gradients(table_attention, leaves, table), gradients(list_attention, leaves, *as_rows(table))):
        torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=1e-5)
        for grad, slope in zip(grads, slopes, strict=True):
            torch.testing.assert_close(grad, slope, atol=5e-5, rtol=1e-4)
    empty = (table < 0).all(dim=2)[:, None].expand(-1, 3, -1)
    assert (found[empty] == 0).all()
    assert (grads[0][empty] == 0).all()


@settings(max_examples=25, deadline=None)
@CASES
def test_sampled_scores_equal_the_twin(backend, seed, queries, keys, most, size):
    query, key, _, table = random_case(seed, queries, keys, most, size)
    expected, slopes = gradients(dense_sampled_scores, (query, key), table)
    found, grads = gradients(sampled_scores, (query, key), table.int())
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-5)
    for grad, slope in zip(grads, slopes, strict=True):
        torch.testing.assert_close(grad, slope, atol=1e-4, rtol=1e-4)
    assert (found[(table < 0)[:, None].expand_as(found)] == 0).all()


def test_a_key_named_twice_counts_twice(backend):
    query, key, value, _ = random_case(0, 1, 3, 1, 8)
    twice = table_attention(query, key, value, torch.tensor([[[0, 0, 2]]] * 2))
    weights = torch.softmax((query @ key.transpose(2, 3)) / 8**0.5 + torch.tensor([2.0, 0.0, 1.0]).log(), dim=3)
    torch.testing.assert_close(twice, weights @ value, atol=1e-6, rtol=1e-5)


def test_windows_equal_their_expanded_table(backend):
    generator = torch.Generator().manual_seed(3)
    query, key, value = torch.randn(3, 2, 4, 48, 32, generator=generator)
    centres = torch.randint(-1, 48, (2, 48, 5), generator=generator)
    visible = spot_mask(centres, (6, 8), 5)
    rows = [row.nonzero()[:, 0] for row in visible.flatten(0, 1)]
    table = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1).unflatten(0, (2, 48))
    found = spot_attention(query, key, value, centres, (6, 8), 5)
    torch.testing.assert_close(table_attention(query, key, value, table), found, atol=1e-6, rtol=1e-5)


def test_pieces_of_the_torch_path_fit_together(backend, monkeypatch):
    """Chunks of a few queries, the last one shorter, change nothing."""
    from astr_cli.ops import torch_attention

    monkeypatch.setattr(torch_attention, "SCORES", 2 * 3 * 12 * 7)
    query, key, _, table = random_case(5, 90, 12, 6, 8)
    expected, slopes = gradients(dense_sampled_scores, (query, key), table)
    found, grads = gradients(sampled_scores, (query, key), table)
    for a, b in zip((found, *grads), (expected, *slopes), strict=True):
        torch.testing.assert_close(a, b.float(), atol=1e-4, rtol=1e-4)


def test_results_depend_on_neither_threads_nor_batch():
    """Bit by bit, forward and backward, through whatever `auto` takes."""
    generator = torch.Generator().manual_seed(4)
    leaves = list(torch.randn(3, 3, 4, 600, 32, generator=generator))
    centres = torch.randint(-1, 600, (3, 600, 5), generator=generator)
    together, grads = gradients(spot_attention, leaves, centres, (20, 30), 5)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        threaded, threaded_grads = gradients(spot_attention, leaves, centres, (20, 30), 5)
    finally:
        torch.set_num_threads(before)
    alone, alone_grads = gradients(spot_attention, [leaf[1:2] for leaf in leaves], centres[1:2], (20, 30), 5)
    for a, b, c in zip((together, *grads), (threaded, *threaded_grads), (alone, *alone_grads), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
        torch.testing.assert_close(a[1:2], c, atol=0, rtol=0)


def test_a_nan_stays_a_nan(backend):
    query, key, value = torch.randn(3, 1, 2, 12, 32)
    query[0, 1, 3, 5] = torch.nan
    expected = dense_spot_attention(query, key, value, torch.arange(12)[None, :, None], (3, 4), 3)
    found = spot_attention(query, key, value, torch.arange(12)[None, :, None], (3, 4), 3)
    assert found[0, 1, 3].isnan().all()
    assert int(found.isnan().sum()) == int(expected.isnan().sum()) + found.shape[3]  # the twin's zero stands for none


def test_what_does_not_fit_is_refused_with_expected_and_got(backend):
    query, key, value, table = random_case(0, 5, 4, 3, 8)
    with pytest.raises(ValueError, match=r"expected table \(2, 5, M\), int64 or int32, got \(2, 4, 3\) of torch.int64"):
        table_attention(query, key, value, table[:, :4])
    with pytest.raises(ValueError, match=r"int64 or int32, got \(2, 5, 3\) of torch.float32"):
        sampled_scores(query, key, table.float())
    with pytest.raises(ValueError, match=r"expected value of query's torch.float32, got torch.float64"):
        table_attention(query, key, value.double(), table)
    with pytest.raises(ValueError, match=r"expected a query of floats, got torch.int64"):
        table_attention(query.long(), key, value, table)
    with pytest.raises(ValueError, match=r"expected key on query's cpu, got meta"):
        table_attention(query, key.to("meta"), value.to("meta"), table)
    with pytest.raises(ValueError, match="expected 11 offsets for 10 queries, got 5"):
        list_attention(query, key, value, torch.arange(5), torch.zeros(4, dtype=torch.int64))


def test_indices_that_point_outside_are_refused(backend):
    query, key, value, table = random_case(0, 5, 4, 3, 8)
    table[1, 2, 0] = 4
    for call in (lambda: table_attention(query, key, value, table), lambda: sampled_scores(query, key, table)):
        with pytest.raises(ValueError, match="expected key indices below 4, got 4"):
            call()
    offsets = torch.tensor([0, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    with pytest.raises(ValueError, match="expected offsets rising from 0 to 2"):
        list_attention(query, key, value, offsets, torch.tensor([0, 1]))
