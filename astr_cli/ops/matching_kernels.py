"""Loops of the streaming dual softmax that numba compiles: passes over one tile of scores while it is in the cache.

A tile holds all columns of a few rows. Every function works on a range of rows or columns that it shares with nobody.
"""

import numpy as np

from astr_cli.ops.kernels import NOTHING, Array, compiled, compiled_in_order, exp, f32


@compiled
def row_sums(first: int, last: int, tile: Array, sums: Array) -> None:
    """Log-sum-exp of rows first..last of the tile into `sums`."""
    for i in range(first, last):
        row = tile[i]
        most, total = NOTHING, f32(0)
        for j in range(row.shape[0]):
            most = max(most, row[j])
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
    value = np.empty(tile.shape[1], np.float32)
    for i in range(first, last):
        row, mine, most = tile[i], rows[i], NOTHING
        for j in range(value.shape[0]):
            value[j] = f32(2) * row[j] - mine - columns[j]
            most = max(most, value[j])
        place = 0
        while place < value.shape[0] - 1 and value[place] != most:
            place += 1
        cells[i] = place
        log_p[i] = most


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
