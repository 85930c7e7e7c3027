"""Least-squares matching of patches as loops that numba compiles: see `plain`, whose twin this is, for the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from astr_cli.refine.plain import GAIN, LEAST_AREA, LEAST_VARIANCE, SINGULAR
from astr_cli.refine.settings import Status
from astr_cli.refine.templates import SCALE

Array = Any  # numpy.ndarray; numba knows better
# No "nnan" and "ninf": NaN is how masked pixels are told.
FLAGS = {"contract", "reassoc", "nsz"}
LEAST_GAIN, LARGEST_GAIN = GAIN
REFINED, FLAT, UNSETTLED = int(Status.REFINED), int(Status.FLAT), int(Status.UNSETTLED)
MOVED, OUTSIDE = int(Status.MOVED), int(Status.OUTSIDE)


def compiled(function: Callable[..., Any]) -> Any:
    """`function` for numba, kept on disk where there is a place to write to."""
    try:
        return njit(nogil=True, fastmath=FLAGS, error_model="numpy", cache=True)(function)
    except RuntimeError:  # neither beside the source nor in the user's cache folder
        return njit(nogil=True, fastmath=FLAGS, error_model="numpy")(function)


@compiled
def fill_design(grey: Array, weights: Array, design: Array) -> None:
    """Rows of `design` (U, M): gradients, grey from its weighted mean, 1, for six unknowns gradients times k."""
    unknowns, side = design.shape[0], grey.shape[0] - 2
    half, step = side // 2, 0.5 / SCALE
    mean, total = 0.0, 0.0
    for row in range(side):
        for column in range(side):
            sample = row * side + column
            across = (float(grey[row + 1, column + 2]) - float(grey[row + 1, column])) * step
            down = (float(grey[row + 2, column + 1]) - float(grey[row, column + 1])) * step
            value = float(grey[row + 1, column + 1]) / SCALE
            x, y = float(column - half), float(row - half)
            design[0, sample], design[1, sample] = across, down
            design[2, sample], design[3, sample] = value, 1.0
            if unknowns == 8:
                design[4, sample], design[5, sample] = across * x, across * y
                design[6, sample], design[7, sample] = down * x, down * y
            mean += weights[sample] * value
            total += weights[sample]
    for sample in range(side * side):
        design[2, sample] -= mean / total


@compiled
def invert(matrix: Array, inverse: Array) -> bool:
    """Inverse of a symmetric matrix by Gauss and Jordan's sweeps; False: it has none."""
    size = matrix.shape[0]
    inverse[:, :] = matrix
    for k in range(size):
        pivot = inverse[k, k]
        if pivot <= SINGULAR * matrix[k, k]:
            return False
        inverse[k, k] = 1.0
        for column in range(size):
            inverse[k, column] /= pivot
        for row in range(size):
            if row != k:
                factor = inverse[row, k]
                inverse[row, k] = 0.0
                for column in range(size):
                    inverse[row, column] -= factor * inverse[k, column]
    return True


@compiled
def fill_normal(design: Array, weights: Array, weighted: Array, matrix: Array) -> None:
    """weighted = design times weights, matrix = weighted design^T."""
    for i in range(design.shape[0]):
        for sample in range(design.shape[1]):
            weighted[i, sample] = design[i, sample] * weights[sample]
    for i in range(design.shape[0]):
        for j in range(i, design.shape[0]):
            total = 0.0
            for sample in range(design.shape[1]):
                total += weighted[i, sample] * design[j, sample]
            matrix[i, j] = matrix[j, i] = total


@compiled
def is_flat(matrix: Array, least: float) -> bool:
    """Whether the gradients' second moments (matrix[:2, :2]) are below `least` in some direction."""
    half_trace = (matrix[0, 0] + matrix[1, 1]) / 2
    square = half_trace**2 - matrix[0, 0] * matrix[1, 1] + matrix[0, 1] ** 2
    return half_trace - np.sqrt(max(square, 0.0)) < least


@compiled
def cubic(x: float) -> tuple[float, float, float, float]:
    """Weights of the pixels at -1, 0, 1 and 2 for a place between 0 and 1."""
    rest = 1.0 - x
    return (
        -0.5 * x * rest * rest,
        1 - 0.5 * x * x * (5 - 3 * x),
        1 - 0.5 * rest * rest * (2 + 3 * x),
        -0.5 * x * x * rest,
    )


@compiled
def place_patch(image: Array, at: Array, half: int, place: Array, apart: Array) -> bool:
    """Where the samples around at = (x, y, and the map's four numbers) are; False: some are outside.

    place (M,): the pixel above and left of each by one, counted through the image; apart (2, M): x and y from the next.
    """
    height, width = image.shape
    extent_x, extent_y = (abs(at[2]) + abs(at[3])) * half, (abs(at[4]) + abs(at[5])) * half
    inside_x = at[0] - extent_x >= 1 and at[0] + extent_x <= width - 2
    inside_y = at[1] - extent_y >= 1 and at[1] + extent_y <= height - 2
    if not (inside_x and inside_y):
        return False
    side = 2 * half + 1
    for down in range(side):
        start_x, start_y = at[0] + at[3] * (down - half), at[1] + at[5] * (down - half)
        for across in range(side):
            x, y = start_x + at[2] * (across - half), start_y + at[4] * (across - half)
            column, row = min(int(x), width - 3), min(int(y), height - 3)
            sample = down * side + across
            place[sample] = (row - 1) * width + column - 1
            apart[0, sample], apart[1, sample] = x - column, y - row
    return True


@compiled
def sample_patch(image: Array, place: Array, apart: Array, values: Array) -> bool:
    """Cubic grey at the samples of `place_patch`; False: a pixel is masked."""
    grey, width, total = image.ravel(), image.shape[1], 0.0
    for sample in range(values.shape[0]):
        a, b, c, d = cubic(apart[0, sample])
        down = cubic(apart[1, sample])
        corner, value = place[sample], 0.0
        for i in range(4):
            line = corner + i * width
            value += down[i] * (a * grey[line] + b * grey[line + 1] + c * grey[line + 2] + d * grey[line + 3])
        values[sample] = value
        total += value
    return bool(np.isfinite(total))


@compiled
def solve(weighted: Array, inverse: Array, values: Array, right: Array, solution: Array) -> None:
    """right = weighted values, solution = inverse right."""
    size = right.shape[0]
    for i in range(size):
        total = 0.0
        for sample in range(values.shape[0]):
            total += weighted[i, sample] * values[sample]
        right[i] = total
    for i in range(size):
        total = 0.0
        for j in range(size):
            total += inverse[i, j] * right[j]
        solution[i] = total


@compiled
def update(at: Array, solution: Array, longest: float, found: Array) -> bool:
    """The patch `found` after a round, from the one before, `at`; False: the solution makes no sense."""
    gain = solution[2]
    if not (gain > LEAST_GAIN and gain < LARGEST_GAIN):
        return False
    x, y = solution[0] / gain, solution[1] / gain
    length = np.hypot(at[2] * x + at[3] * y, at[4] * x + at[5] * y)
    short = min(1.0, longest / max(length, 1e-12))
    x, y = x * short, y * short
    a, b, c, d = 1.0, 0.0, 0.0, 1.0
    if solution.shape[0] == 8:
        a, b = a + solution[4] / gain * short, b + solution[5] / gain * short
        c, d = c + solution[6] / gain * short, d + solution[7] / gain * short
    area = a * d - b * c
    if not area > LEAST_AREA:
        return False
    found[2], found[3] = (at[2] * d - at[3] * c) / area, (at[3] * a - at[2] * b) / area
    found[4], found[5] = (at[4] * d - at[5] * c) / area, (at[5] * a - at[4] * b) / area
    found[0] = at[0] - found[2] * x - found[3] * y
    found[1] = at[1] - found[4] * x - found[5] * y
    return True


@compiled
def variance_and_correlation(
    values: Array, right: Array, solution: Array, energy: float, weights: Array
) -> tuple[float, float]:
    """Of the grey values' residuals, in the template's grey; and between template and image."""
    size, total, square = right.shape[0], 0.0, 0.0
    for sample in range(values.shape[0]):
        total += weights[sample]
        square += weights[sample] * values[sample] * values[sample]
    explained = 0.0
    for i in range(size):
        explained += right[i] * solution[i]
    variance = max((square - explained) / (total - size), LEAST_VARIANCE) / solution[2] ** 2
    about_mean = max(square - right[3] ** 2 / total, 1e-12)
    return variance, right[2] / np.sqrt(energy * about_mean)


@compiled
def spread(at: Array, inverse: Array) -> float:
    """Trace of map inverse[:2, :2] map^T."""
    x = at[2] * at[2] * inverse[0, 0] + 2 * at[2] * at[3] * inverse[0, 1] + at[3] * at[3] * inverse[1, 1]
    y = at[4] * at[4] * inverse[0, 0] + 2 * at[4] * at[5] * inverse[0, 1] + at[5] * at[5] * inverse[1, 1]
    return x + y


@compiled
def align(
    first: int,
    last: int,
    image: Array,
    grey: Array,
    point: Array,
    patches: Array,
    weights: Array,
    limits: Array,
    size: int,
    found: Array,
    quality: Array,
    status: Array,
) -> None:
    """Patches first..last: `patches` (P, 6) the middle and the map of each, `found` (P, 6) the same when aligned.

    limits: rounds, longest step, stop, reach, least second moment of gradients. size: unknowns with gain and offset.
    quality (P, 2): sigma, correlation.
    """
    samples, half = weights.shape[0], (grey.shape[1] - 3) // 2
    design, weighted, values = np.empty((size, samples)), np.empty((size, samples)), np.empty(samples)
    matrix, inverse = np.empty((size, size)), np.empty((size, size))
    place, apart = np.empty(samples, np.int64), np.empty((2, samples))
    right, solution, at, moved = np.empty(size), np.empty(size), np.empty(6), np.empty(6)
    for i in range(first, last):
        fill_design(grey[i], weights, design)
        fill_normal(design, weights, weighted, matrix)
        if is_flat(matrix, limits[4]) or not invert(matrix, inverse):
            status[i] = FLAT
            continue
        at[:] = patches[i]
        status[i] = UNSETTLED
        u, v = point[i]
        start_x, start_y = at[0] + at[2] * u + at[3] * v, at[1] + at[4] * u + at[5] * v
        for _ in range(int(limits[0])):
            if not (place_patch(image, at, half, place, apart) and sample_patch(image, place, apart, values)):
                status[i] = OUTSIDE
                break
            solve(weighted, inverse, values, right, solution)
            if not update(at, solution, limits[1], moved):
                break
            x, y = moved[0] + moved[2] * u + moved[3] * v, moved[1] + moved[4] * u + moved[5] * v
            step = np.hypot(x - at[0] - at[2] * u - at[3] * v, y - at[1] - at[4] * u - at[5] * v)
            if np.hypot(x - start_x, y - start_y) > limits[3]:
                status[i] = MOVED
                break
            if step < limits[2]:
                status[i] = REFINED
                variance, quality[i, 1] = variance_and_correlation(values, right, solution, matrix[2, 2], weights)
                quality[i, 0] = np.sqrt(variance * spread(at, inverse))
                found[i] = moved
                break
            at[:] = moved
