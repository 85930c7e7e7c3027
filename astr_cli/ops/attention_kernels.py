"""Attention over key lists, forward and backward, as loops that numba compiles at their first use.

query is (B, Nq, H, D), key and value are (B * Nk, H, D). Every function works on a range, of rows or of heads, that it
shares with nobody: ranges may run on any number of threads, and the bits stay the same. Of key lists, `cells` is the
flat cells, row r has those from begin[r] to begin[r + 1], `grid` and `mask` are `collect`'s.
"""

from typing import Any

import numpy as np

from astr_cli.ops.kernels import NOTHING, Array, collect, compiled, dots, f32, longest, mix, softmax


@compiled
def forward(
    first: int, last: int, lanes: Any, query: Array, key: Array, value: Array,
    cells: Array, begin: Array, grid: Array, mask: Array, out: Array, lse: Array,
) -> None:  # fmt: skip
    """Rows first..last of out (B, Nq, H, D) and of the log-sum-exps (B, Nq, H)."""
    size, queries, heads = len(lanes), query.shape[1], query.shape[2]
    keys = key.shape[0] // query.shape[0]
    scale = f32(1.0 / np.sqrt(size))
    stamps, found = np.full(keys, -1, np.int32), np.empty(longest(begin, grid), np.int64)
    weights = np.empty(found.shape[0], np.float32)
    scaled, mixed = np.empty(size, np.float32), np.empty(size, np.float32)
    for row in range(first, last):
        item, q = row // queries, row % queries
        count = collect(row, item, keys, cells, begin, grid, mask, stamps, found)
        for h in range(heads):
            if count == 0:
                out[item, q, h] = f32(0)
                lse[item, q, h] = NOTHING
                continue
            for d in range(size):
                scaled[d] = query[item, q, h, d] * scale
            dots(lanes, scaled, key, h, found, count, weights)
            most, total = softmax(weights, count)
            mix(lanes, weights, value, h, found, count, mixed)
            for d in range(size):
                out[item, q, h, d] = mixed[d] / total
            lse[item, q, h] = most + np.log(total)


@compiled
def backward(
    first: int, last: int, lanes: Any, grad: Array, query: Array, key: Array, value: Array,
    cells: Array, begin: Array, grid: Array, mask: Array, grad_query: Array, grad_key: Array, grad_value: Array,
) -> None:  # fmt: skip
    """Gradients of heads first..last, counted as item * H + head; grad_key and grad_value are zero at first.

    A head's queries come in order, so a key's sums have one order too. The weights are formed again: that costs less
    than it would to keep them.
    """
    size, queries, heads = len(lanes), query.shape[1], query.shape[2]
    keys = key.shape[0] // query.shape[0]
    scale = f32(1.0 / np.sqrt(size))
    stamps, found = np.empty(keys, np.int32), np.empty(longest(begin, grid), np.int64)
    weights, slopes = np.empty(found.shape[0], np.float32), np.empty(found.shape[0], np.float32)
    scaled, mixed = np.empty(size, np.float32), np.empty(size, np.float32)
    for head in range(first, last):
        item, h = head // heads, head % heads
        stamps[:] = -1
        for q in range(queries):
            count = collect(item * queries + q, item, keys, cells, begin, grid, mask, stamps, found)
            upstream = grad[item, q, h]
            for d in range(size):
                scaled[d] = query[item, q, h, d] * scale
            dots(lanes, scaled, key, h, found, count, weights)
            dots(lanes, upstream, value, h, found, count, slopes)
            total = softmax(weights, count)[1]
            mean = f32(0)
            for j in range(count):
                weights[j] /= total
                mean += weights[j] * slopes[j]
            for j in range(count):
                slopes[j] = weights[j] * (slopes[j] - mean)
            for j in range(count, (count + 3) // 4 * 4):
                slopes[j] = f32(0)
            mix(lanes, slopes, key, h, found, count, mixed)
            for d in range(size):
                grad_query[item, q, h, d] = mixed[d] * scale
            for j in range(count):
                k, weight, slope = found[j], weights[j], slopes[j]
                for d in range(size):
                    grad_key[k, h, d] += slope * scaled[d]
                    grad_value[k, h, d] += weight * upstream[d]


@compiled
def scores(first: int, last: int, lanes: Any, query: Array, key: Array, table: Array, out: Array) -> None:
    """Rows first..last of out (B, H, Nq, M), zero at first: query . key at the pairs of the table (B, Nq, M)."""
    queries, heads, most = query.shape[1], query.shape[2], table.shape[2]
    keys = key.shape[0] // query.shape[0]
    places, found = np.empty(most, np.int64), np.empty(most + 4, np.int64)
    dot = np.empty(most + 4, np.float32)
    for row in range(first, last):
        item, q = row // queries, row % queries
        count = 0
        for j in range(most):
            if table[item, q, j] >= 0:
                places[count] = j
                found[count] = item * keys + table[item, q, j]
                count += 1
        found[count : count + 4] = found[0]
        for h in range(heads):
            dots(lanes, query[item, q, h], key, h, found, count, dot)
            for j in range(count):
                out[item, h, q, places[j]] = dot[j]


@compiled
def scores_backward(
    first: int, last: int, lanes: Any, grad: Array, query: Array, key: Array, table: Array,
    grad_query: Array, grad_key: Array,
) -> None:  # fmt: skip
    """Gradients of `scores` for heads first..last, counted as item * H + head; grad_key is zero at first."""
    queries, heads, most = query.shape[1], query.shape[2], table.shape[2]
    keys = key.shape[0] // query.shape[0]
    found, slopes = np.empty(most + 4, np.int64), np.empty(most + 4, np.float32)
    mixed = np.empty(len(lanes), np.float32)
    for head in range(first, last):
        item, h = head // heads, head % heads
        for q in range(queries):
            count = 0
            for j in range(most):
                if table[item, q, j] >= 0:
                    found[count] = item * keys + table[item, q, j]
                    slopes[count] = grad[item, h, q, j]
                    count += 1
            found[count : count + 4] = item * keys
            slopes[count : count + 4] = f32(0)
            mix(lanes, slopes, key, h, found, count, mixed)
            for d in range(len(lanes)):
                grad_query[item, q, h, d] = mixed[d]
            for j in range(count):
                for d in range(len(lanes)):
                    grad_key[found[j], h, d] += slopes[j] * query[item, q, h, d]
