"""What the loops of `attention_kernels` and `matching_kernels`, compiled by numba at their first use, have in common.

Arrays are float32 and C-contiguous. `lanes` is any tuple as long as a head: its length is a constant to the compiler,
which lets the loops over a head run in registers. numba's cache of a file's functions goes by that file's date alone:
after a change here, give the other two a new date.
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

    2^n times the Taylor polynomial of what is left, at most 0.35, ln 2 taken off in two parts to keep its last bits.
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
