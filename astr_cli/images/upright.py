"""EXIF orientations and quarter turns: pixels, points, sizes and intrinsics between the raw grid and the upright one.

All eight orientations are one of four turns with or without a mirror. An orientation's matrix maps raw directions to
upright ones. The centre of the top-left pixel is (0, 0) in both grids.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

AnyArray = TypeVar("AnyArray", bound=NDArray[Any])

UPRIGHT = 1  # EXIF's code for pixels that stand as they are stored
# fmt: off
_MATRICES = {
    1: ((1, 0), (0, 1)), 2: ((-1, 0), (0, 1)), 3: ((-1, 0), (0, -1)), 4: ((1, 0), (0, -1)),
    5: ((0, 1), (1, 0)), 6: ((0, -1), (1, 0)), 7: ((0, -1), (-1, 0)), 8: ((0, 1), (-1, 0)),
}
# fmt: on
_QUARTER = np.array([[0, -1], [1, 0]])  # clockwise, as y points downwards


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(w, h) of the upright image from that of the raw one, and the other way round."""
    return (size[1], size[0]) if orientation >= 5 else size


def turned(orientation: int, quarters: int) -> int:
    """The orientation that first applies `orientation`, then rotates by `quarters` more quarter turns clockwise."""
    matrix = np.linalg.matrix_power(_QUARTER, quarters % 4) @ np.array(_MATRICES[orientation])
    return next(code for code, known in _MATRICES.items() if np.array_equal(known, matrix))


def turn_pixels(raw: AnyArray, orientation: int) -> AnyArray:
    """The upright image of raw (h, w) or (h, w, 3), as a view of it."""
    (xx, xy), (yx, yy) = _MATRICES[orientation]
    flipped = raw[:: -1 if yy + xy < 0 else 1, :: -1 if xx + yx < 0 else 1]
    return flipped.swapaxes(0, 1) if orientation >= 5 else flipped  # type: ignore[return-value]


def to_upright(points: ArrayLike, size: tuple[int, int], orientation: int) -> NDArray[np.float64]:
    """Raw pixels (M, 2) of an image of raw `size` (w, h) to upright ones."""
    matrix, shift = _affine(size, orientation)
    return np.asarray(points, np.float64).reshape(-1, 2) @ matrix.T + shift


def to_raw(points: ArrayLike, size: tuple[int, int], orientation: int) -> NDArray[np.float64]:
    """Upright pixels (M, 2) to raw ones of an image of raw `size` (w, h); the inverse of `to_upright`."""
    matrix, shift = _affine(size, orientation)
    return (np.asarray(points, np.float64).reshape(-1, 2) - shift) @ matrix


def turn_intrinsics(intrinsics: NDArray[np.float64], size: tuple[int, int], orientation: int) -> NDArray[np.float64]:
    """The (3, 3) camera matrix of the upright image, of a camera that is turned (and mirrored) with it."""
    matrix, shift = _affine(size, orientation)
    camera = np.eye(3)
    camera[:2, :2] = matrix
    pixels = camera.copy()
    pixels[:2, 2] = shift
    return np.asarray(pixels @ intrinsics @ camera.T)


def _affine(size: tuple[int, int], orientation: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    matrix = np.array(_MATRICES[orientation], np.float64)
    # What a mirrored axis starts at: the last raw pixel's centre.
    last = np.array([size[0] - 1, size[1] - 1], np.float64)
    return matrix, np.clip(-matrix, 0, None) @ last
