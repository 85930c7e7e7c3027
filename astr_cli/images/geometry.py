"""Raw and matched pixels: sizes, resizing, points and intrinsics. The centre of the top-left pixel is (0, 0) in both.

A resize by s = new / old moves x to (x + 0.5) s - 0.5, per axis.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

STRIPS, STRIP = 64_000_000, 4_000_000  # pixels: a larger photo is resized in strips of so many
MULTIPLE = 32  # the coarsest level of the network is 1/32


def matched_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """(width, height) that the matcher works at: each side rounded to the nearest multiple of 32, at least 32.

    The long side is at most `long_side` (but at least 32), and the image is never enlarged: a side is rounded up
    beyond the image's own only to the nearest multiple. Raises ValueError for sizes that are not positive.
    """
    if width < 1 or height < 1 or long_side < 1:
        raise ValueError(f"sizes must be positive, got {width}x{height} with long side {long_side}")
    most = max(MULTIPLE, long_side // MULTIPLE * MULTIPLE)
    scale = min(1.0, most / max(width, height))

    def fit(side: int) -> int:
        # Halves go up: int() of x + 0.5 does not depend on the parity as round() does.
        return min(most, max(MULTIPLE, int(side * scale / MULTIPLE + 0.5) * MULTIPLE))

    return fit(width), fit(height)


def resize(gray: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w) uint8 to float32 in [0, 1] of `size` = (width, height): area average when shrinking, else bilinear."""
    import cv2

    height, width = gray.shape
    shrinking = size[0] <= width and size[1] <= height
    if shrinking and gray.size > STRIPS:
        return _resize_in_strips(gray, size)
    scaled = gray.astype(np.float32) / np.float32(255)
    if (width, height) == tuple(size):
        return scaled
    result = cv2.resize(scaled, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return np.asarray(np.clip(result, 0, 1), np.float32)


def _resize_in_strips(gray: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """The same as `resize` makes smaller, without the whole photo in float32: four bytes per pixel, twice."""
    import cv2

    rows = max(1, STRIP // gray.shape[1])
    narrow = np.empty((gray.shape[0], size[0]), np.float32)
    for top in range(0, len(gray), rows):
        strip = gray[top : top + rows].astype(np.float32)
        narrow[top : top + rows] = cv2.resize(strip, (size[0], len(strip)), interpolation=cv2.INTER_AREA)
    result = cv2.resize(narrow, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    return np.asarray(np.clip(result, 0, 1), np.float32)


def to_original(points: ArrayLike, original: tuple[int, int], matched: tuple[int, int]) -> NDArray[np.float32]:
    """Matched pixels (M, 2) to raw pixels; `original` and `matched` are (width, height). float64 inside."""
    return _rescale(points, matched, original)


def to_matched(points: ArrayLike, original: tuple[int, int], matched: tuple[int, int]) -> NDArray[np.float32]:
    """Raw pixels (M, 2) to matched pixels; the inverse of `to_original`."""
    return _rescale(points, original, matched)


def scale_intrinsics(
    intrinsics: NDArray[np.float64], original: tuple[int, int], matched: tuple[int, int]
) -> NDArray[np.float64]:
    """The 3x3 camera matrix of the matched image from that of the raw image, same pixel convention for both."""
    scale_x, scale_y = matched[0] / original[0], matched[1] / original[1]
    change = np.array(
        [[scale_x, 0.0, 0.5 * scale_x - 0.5], [0.0, scale_y, 0.5 * scale_y - 0.5], [0.0, 0.0, 1.0]], np.float64
    )
    return np.asarray(change @ np.asarray(intrinsics, np.float64))


def _rescale(points: ArrayLike, old: tuple[int, int], new: tuple[int, int]) -> NDArray[np.float32]:
    values: NDArray[Any] = np.asarray(points, np.float64).reshape(-1, 2)
    scale = np.array([new[0] / old[0], new[1] / old[1]], np.float64)
    return ((values + 0.5) * scale - 0.5).astype(np.float32)
