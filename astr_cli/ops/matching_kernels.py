"""Loops of the streaming dual softmax that numba compiles: passes over one tile of scores while it is in the cache.

A tile holds all columns of a few rows. Every function works on a range of rows or columns that it shares with nobody.
"""

from typing import Any

import numpy as np

from astr_cli.ops.kernels import NOTHING, Array, compiled, compiled_in_order, exp, f32, inlined

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
