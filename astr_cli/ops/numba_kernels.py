"""The loops of the operators, compiled by numba at their first use.

Arrays are float32 and C-contiguous. `lanes` is any tuple as long as a head: its length is a constant to the compiler,
which lets the loops over a head run in registers. numba's cache of them goes by the date of this file alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

Array = Any  # numpy.ndarray; numba knows better
# No "nnan" and "ninf": a NaN of the network's must come out as one.
FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}
f32 = np.float32
NOTHING = f32(-np.inf)


def compiled(function: Callable[..., Any], flags: set[str] = FAST) -> Any:
    """`function` for numba, kept on disk where there is a place to write to."""
    try:
        return njit(nogil=True, fastmath=flags, error_model="numpy", cache=True)(function)
    except RuntimeError:  # neither beside the source nor in the user's cache folder
        return njit(nogil=True, fastmath=flags, error_model="numpy")(function)


def compiled_in_order(function: Callable[..., Any]) -> Any:
    """`compiled`, with sums in the order that they are written in."""
    return compiled(function, {"contract"})


def inlined(function: Callable[..., Any]) -> Any:
    """`function` for numba, part of every loop that calls it."""
    return njit(fastmath=FAST, error_model="numpy", forceinline=True)(function)


@intrinsic
def _float_of_bits(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


float_of_bits: Any = _float_of_bits  # the float32 with the bits of an int32


# Not FAST: reassociation would put the two parts of ln 2 together again.
@njit(fastmath={"contract"}, error_model="numpy", forceinline=True)
def exp(x: Any) -> Any:
    """exp for x <= 0, 2e-7 relative, 0 below -87: libm's is a call for each number, which stops vectorisation.

    2^n times the Taylor polynomial of the remainder, at most 0.35; ln 2 is subtracted in two parts, for its last bits.
    """
    bounded = x if x > f32(-87.0) or x != x else f32(-87.0)
    n = np.floor(bounded * f32(1.4426950408889634) + f32(0.5))
    r = bounded - n * f32(0.693359375) + n * f32(2.1219444005469057e-4)
    p = f32(1 / 5040)
    p = p * r + f32(1 / 720)
    p = p * r + f32(1 / 120)
    p = p * r + f32(1 / 24)
    p = p * r + f32(1 / 6)
    p = p * r + f32(1 / 2)
    p = p * r + f32(1.0)
    p = p * r + f32(1.0)
    power = float_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))
    return p * power if x > f32(-87.0) or x != x else f32(0.0)


@inlined
def collect(
    row: int, item: int, keys: int, cells: Array, begin: Array, grid: Array, mask: Array, stamps: Array, found: Array
) -> int:
    """Write the keys of one query into `found`, counted over the whole batch, and return their number.

    `grid` is (height, width, side) of windows, side 0 for plain lists; `stamps` (keys,) is scratch, below 0 at first.
    The places behind, up to a multiple of four, repeat the last key.
    """
    count, base, reach = 0, item * keys, grid[2] // 2
    for place in range(begin[row], begin[row + 1]):
        cell = cells[place]
        if cell < 0:
            continue
        if grid[2] == 0:
            found[count] = base + cell
            count += 1
            continue
        y, x = cell // grid[1], cell % grid[1]
        for cy in range(max(0, y - reach), min(grid[0], y + reach + 1)):
            for cx in range(max(0, x - reach), min(grid[1], x + reach + 1)):
                near = cy * grid[1] + cx
                if stamps[near] != row and (mask.shape[0] == 0 or mask[base + near]):
                    stamps[near] = row
                    found[count] = base + near
                    count += 1
    if count:
        for place in range(count, (count + 3) // 4 * 4):
            found[place] = found[count - 1]
    return count


@inlined
def longest(begin: Array, grid: Array) -> int:
    """Keys that a query may have, and room for `collect`'s padding."""
    most = 0
    for row in range(begin.shape[0] - 1):
        most = max(most, begin[row + 1] - begin[row])
    return most * max(1, grid[2] * grid[2]) + 4


@inlined
def softmax(scores: Array, count: int) -> Any:
    """Turn scores into exp(score - maximum), the padding behind `count` into 0; return the maximum and the sum."""
    most, total = NOTHING, f32(0)
    for j in range(count):
        most = max(most, scores[j])
    for j in range(count):
        scores[j] = exp(scores[j] - most)
        total += scores[j]
    for j in range(count, (count + 3) // 4 * 4):
        scores[j] = f32(0)
    return most, total


@inlined
def dots(lanes: Any, vector: Array, rows: Array, head: int, found: Array, count: int, out: Array) -> None:
    """out[j] = vector . rows[found[j], head], four at a time: one alone waits for its own sum."""
    for j in range(0, count, 4):
        k0, k1, k2, k3 = found[j], found[j + 1], found[j + 2], found[j + 3]
        s0, s1, s2, s3 = f32(0), f32(0), f32(0), f32(0)
        for d in range(len(lanes)):
            s0 += vector[d] * rows[k0, head, d]
            s1 += vector[d] * rows[k1, head, d]
            s2 += vector[d] * rows[k2, head, d]
            s3 += vector[d] * rows[k3, head, d]
        out[j], out[j + 1], out[j + 2], out[j + 3] = s0, s1, s2, s3


@inlined
def mix(lanes: Any, weights: Array, rows: Array, head: int, found: Array, count: int, out: Array) -> None:
    """out = sum of weights[j] rows[found[j], head]; the weights behind `count`, up to a multiple of four, are 0."""
    for d in range(len(lanes)):
        out[d] = f32(0)
    for j in range(0, count, 4):
        k0, k1, k2, k3 = found[j], found[j + 1], found[j + 2], found[j + 3]
        w0, w1, w2, w3 = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for d in range(len(lanes)):
            first = w0 * rows[k0, head, d] + w1 * rows[k1, head, d]
            out[d] += first + (w2 * rows[k2, head, d] + w3 * rows[k3, head, d])


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


LANES = 32  # maxima that are found side by side


@inlined
def greatest(values: Array, lanes: Array) -> Any:
    """Maximum of `values`, NaN left out; `lanes` is scratch. One running maximum would not vectorise."""
    whole, most = values.shape[0] // LANES * LANES, NOTHING
    for lane in range(LANES):
        lanes[lane] = NOTHING
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            value = values[start + lane]
            lanes[lane] = value if value > lanes[lane] else lanes[lane]
    for lane in range(LANES):
        most = max(most, lanes[lane])
    for j in range(whole, values.shape[0]):
        most = values[j] if values[j] > most else most
    return most


@compiled
def row_sums(first: int, last: int, tile: Array, sums: Array) -> None:
    """Log-sum-exp of rows first..last of the tile into `sums`."""
    lanes = np.empty(LANES, np.float32)
    for i in range(first, last):
        row = tile[i]
        most, total = greatest(row, lanes), f32(0)
        for j in range(row.shape[0]):
            total += exp(row[j] - most)
        sums[i] = most + np.log(total)


@compiled
def column_sums(first: int, last: int, tile: Array, most: Array, total: Array) -> None:
    """Take columns first..last of the tile into the running maximum of each column and its sum of exp(s - maximum)."""
    peak, running, mine = most[first:last].copy(), most[first:last], total[first:last]
    part = np.zeros(last - first, np.float32)
    for i in range(tile.shape[0]):
        row = tile[i, first:last]
        for j in range(peak.shape[0]):
            peak[j] = max(peak[j], row[j])
    for i in range(tile.shape[0]):
        row = tile[i, first:last]
        for j in range(peak.shape[0]):
            part[j] += exp(row[j] - peak[j])
    for j in range(peak.shape[0]):
        mine[j] = mine[j] * exp(running[j] - peak[j]) + part[j]
        running[j] = peak[j]


@compiled_in_order
def best_of_rows(first: int, last: int, tile: Array, rows: Array, columns: Array, cells: Array, log_p: Array) -> None:
    """The first greatest log P of rows first..last of the tile; `rows` and `columns` are log-sum-exps."""
    value, lanes = np.empty(tile.shape[1], np.float32), np.empty(LANES, np.float32)
    for i in range(first, last):
        row, mine = tile[i], rows[i]
        for j in range(value.shape[0]):
            value[j] = f32(2) * row[j] - mine - columns[j]
        most, place = greatest(value, lanes), 0
        while place < value.shape[0] - 1 and value[place] != most:
            place += 1
        cells[i] = place
        log_p[i] = value[place]  # NaN where all are


@compiled_in_order
def best_of_columns(
    first: int, last: int, start: int, tile: Array, rows: Array, columns: Array, cells: Array, log_p: Array
) -> None:
    """Take columns first..last of the tile, whose first row is row `start`, into each column's best so far."""
    sums, best, where = columns[first:last], log_p[first:last], cells[first:last]
    for i in range(tile.shape[0]):
        row, mine = tile[i, first:last], rows[i]
        for j in range(best.shape[0]):
            value = f32(2) * row[j] - mine - sums[j]
            better = value > best[j]
            where[j] = np.int32(start + i) if better else where[j]
            best[j] = value if better else best[j]


@compiled
def slopes(
    first: int, last: int, tile: Array, rows: Array, columns: Array, grad_rows: Array, grad_columns: Array
) -> None:
    """Turn rows first..last of the tile from scores into the gradient of the scores."""
    for i in range(first, last):
        row, mine, weight = tile[i], rows[i], grad_rows[i]
        for j in range(row.shape[0]):
            by_row, by_column = weight * exp(row[j] - mine), grad_columns[j] * exp(row[j] - columns[j])
            row[j] = by_row + by_column
