"""Small upright JPEGs of photos, for pages that show hundreds of them."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from astr_cli.images.decode import JPEG, read_colour
from astr_cli.images.info import ImageInfo
from astr_cli.images.opening import open_image
from astr_cli.images.upright import turn_pixels

QUALITIES = (80, 65, 45)  # the first that fits the room
SMALLEST = 32  # pixels of a long side


class Thumbnail(NamedTuple):
    """A small photo that stands upright by its EXIF orientation."""

    jpeg: bytes
    size: tuple[int, int]
    """(width, height)."""


def thumbnail(info: ImageInfo, long_side: int, room: int) -> Thumbnail:
    """A JPEG in colour with at most `long_side` pixels, and smaller still where it would take over `room` bytes.

    Raises ImageError: the photo cannot be decoded.
    """
    small = _fitted(Image.fromarray(turn_pixels(_small_pixels(info, long_side), info.orientation)), long_side)
    while True:
        for quality in QUALITIES:
            file = BytesIO()
            small.save(file, "JPEG", quality=quality, optimize=True)
            if file.tell() <= room:
                return Thumbnail(file.getvalue(), small.size)
        if max(small.size) <= SMALLEST:
            return Thumbnail(file.getvalue(), small.size)
        small = _fitted(small, max(SMALLEST, max(small.size) * 3 // 4))


def _small_pixels(info: ImageInfo, long_side: int) -> NDArray[np.uint8]:
    """(h, w, 3) RGB, not rotated, of about twice `long_side` where a JPEG can be decoded at a fraction of its size."""
    if info.format not in JPEG:
        return _shrunk(read_colour(info.path).pixels, long_side)
    with open_image(Path(info.path), info.name) as image:
        image.draft("RGB", (2 * long_side, 2 * long_side))
        return np.asarray(_fitted(image.convert("RGB"), long_side))


def _shrunk(pixels: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    return np.asarray(_fitted(Image.fromarray(pixels), long_side))


def _fitted(image: Image.Image, long_side: int) -> Image.Image:
    scale = long_side / max(image.size)
    if scale >= 1:
        return image
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=2.0)
