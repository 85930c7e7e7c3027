"""Pixels: any readable photo to 8-bit grey, in raw orientation."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from astr_cli.images.errors import ImageError
from astr_cli.images.opening import open_image
from astr_cli.images.tiff import is_turned, without_orientation
from astr_cli.wording import first_line

STRETCH = (0.5, 99.5)  # percentiles of a deep image that become 0 and 255
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, OverflowError, KeyError, TypeError, struct.error)
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Decode a photo to (height, width) uint8 grey (Rec. 601 luma); EXIF orientation is not applied.

    16-bit, 32-bit and float images are stretched from their 0.5 .. 99.5 percentiles. Alpha is dropped, palettes and
    CMYK are converted, of several frames the first is taken. Raises ImageError: missing, empty, not an image, cut off
    (half a photo is never returned), HEIC, camera RAW.
    """
    with _loaded(path) as (image, deep):
        return _stretch(_deep_pixels(path, image)) if deep else np.asarray(_luma(image))


def read_nonzero(path: Path) -> NDArray[np.bool_]:
    """Decode a mask to (height, width): True where any channel but alpha is not zero, even by the smallest step.

    Reads what `read_gray` reads, and raises as it does.
    """
    with _loaded(path) as (image, deep):
        pixels = _deep_pixels(path, image, colour=True) if deep else np.asarray(_colour(image))
        return np.asarray(pixels.any(axis=2) if pixels.ndim == 3 else pixels != 0)


def read_colour(path: Path) -> NDArray[np.uint8]:
    """Decode a photo to (height, width, 3) uint8 RGB, not rotated.

    Reads what `read_gray` reads, and raises as it does.
    """
    with _loaded(path, gray=False) as (image, deep):
        pixels = _stretch(_deep_pixels(path, image, colour=True)) if deep else np.asarray(_colour(image))
        return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


@contextmanager
def _loaded(path: Path, gray: bool = True) -> Iterator[tuple[Image.Image, bool]]:
    """A decoded image, and whether it has more than 8 bits; ImageError also for failures while it is used."""
    with open_image(path, str(path)) as opened:
        try:
            image = Image.open(BytesIO(without_orientation(path.read_bytes()))) if is_turned(opened) else opened
            deep = image.mode in DEEP_MODES or _deep_colour(image)
            if gray:
                image.draft("L", image.size)  # JPEG only: takes the luma as stored and skips the colour conversion
            image.load()
            yield image, deep
        except DAMAGE as error:
            raise ImageError(f"{path}: damaged or cut off ({first_line(error)}); copy it again") from None


def _luma(image: Image.Image) -> Image.Image:
    if image.mode == "L":
        return image
    if image.mode in ("CMYK", "YCbCr", "HSV", "LAB", "P", "PA", "RGBX", "RGBa", "La"):
        image = image.convert("RGBA" if image.mode in ("P", "PA", "RGBa", "La") else "RGB")
    return image.convert("L")


def _colour(image: Image.Image) -> Image.Image:
    """In grey or in RGB, without alpha."""
    if image.mode in ("L", "LA", "1"):
        return image.convert("L")
    return (image.convert("RGBA") if image.mode in ("P", "PA", "RGBa", "La") else image).convert("RGB")


def _deep_colour(image: Image.Image) -> bool:
    """Whether Pillow would drop the lower 8 bits of 16-bit colour (PNG and TIFF): seen from the raw mode it reads."""
    for tile in getattr(image, "tile", ()):
        raw = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
        if isinstance(raw, str) and ";16" in raw:
            return True
    return False


def _deep_pixels(path: Path, image: Image.Image, colour: bool = False) -> NDArray[np.float32]:
    """(height, width) float32 in the units of the file; with `colour` (height, width, 3) where it has colour."""
    if image.mode in DEEP_MODES:
        return np.asarray(image).astype(np.float32)
    import cv2

    data = path.read_bytes()  # cv2 cannot open every name on every system
    if image.format == "TIFF":
        data = without_orientation(data)
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:  # a rare layout that only Pillow knows: its upper 8 bits are better than nothing
        return np.asarray(_colour(image) if colour else _luma(image)).astype(np.float32)
    return np.asarray(pixels).astype(np.float32)


def _stretch(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.isfinite(pixels)
    if not finite.all():  # depth maps and orthophotos mark holes with NaN
        pixels = np.where(finite, pixels, pixels[finite].min() if finite.any() else 0).astype(np.float32)
    low, high = np.percentile(pixels, STRETCH)
    if high <= low:  # an almost flat image: keep what contrast there is
        low, high = float(pixels.min()), float(pixels.max())
    scale = 255.0 / max(high - low, 1e-12)
    stretched: NDArray[np.uint8] = np.clip(np.rint((pixels - low) * scale), 0, 255).astype(np.uint8)
    return stretched
