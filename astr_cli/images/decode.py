"""Pixels: any readable photo to 8-bit grey, in raw orientation."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from astr_cli.images.info import ImageInfo
from astr_cli.images.opening import open_image
from astr_cli.images.tiff import OtherTiff, is_turned, raw_size, without_orientation

STRETCH = (0.5, 99.5)  # percentiles of a deep image that become 0 and 255
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue
DECODED_BYTES = 8  # per pixel
JPEG = ("JPEG", "MPO")
HUGE = 64_000_000  # pixels; smaller photos are decoded whole, which is slower and a little sharper
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


class Reduced(NamedTuple):
    """A photo that was perhaps made smaller while it was decoded."""

    pixels: NDArray[np.uint8]
    """(h, w) or (h, w, 3)."""
    size: tuple[int, int]
    """(width, height) in the file, both the same multiple of those of `pixels`."""


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Decode a photo to (height, width) uint8 grey (Rec. 601 luma); EXIF orientation is not applied.

    16-bit, 32-bit and float images are stretched from their 0.5 .. 99.5 percentiles. Alpha is dropped, palettes and
    CMYK are converted, of several frames the first is taken. Raises ImageError: missing, empty, not an image, cut off
    (half a photo is never returned), camera RAW, HEIC without the extra.
    """
    return read_reduced(path, None).pixels


def read_reduced(path: Path, least: tuple[int, int] | None) -> Reduced:
    """Decode a photo as `read_gray` does; a huge JPEG at a half, a quarter or an eighth, but not below `least` (w, h).

    Memory and time then follow what is decoded. A pixel is the mean of a block, so it lies where resizing puts it.
    """
    with _loaded(path, least=least) as (image, deep, size):
        return Reduced(_stretch(_deep_pixels(path, image)) if deep else np.asarray(_luma(image)), size)


def read_colour(path: Path, least: tuple[int, int] | None = None) -> Reduced:
    """Decode a photo to (height, width, 3) uint8 RGB, not rotated; smaller as `read_reduced` makes it.

    Reads what `read_gray` reads, and raises as it does.
    """
    with _loaded(path, gray=False, least=least) as (image, deep, size):
        pixels = _stretch(_deep_pixels(path, image, colour=True)) if deep else np.asarray(_colour(image))
        return Reduced(pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2), size)


def read_nonzero(path: Path) -> NDArray[np.bool_]:
    """Decode a mask to (height, width): True where any channel but alpha is not zero, even by the smallest step.

    Reads what `read_gray` reads, and raises as it does.
    """
    with _loaded(path, thin=True) as (image, deep, _):
        pixels = _deep_pixels(path, image, colour=True) if deep else np.asarray(_colour(image))
        return np.asarray(pixels.any(axis=2) if pixels.ndim == 3 else pixels != 0)


def reduction(size: tuple[int, int], least: tuple[int, int]) -> int:
    """By how much a JPEG of `size` (w, h) may be made smaller while it is decoded: 1, 2, 4 or 8."""
    if size[0] * size[1] <= HUGE:
        return 1
    fitting = (k for k in (8, 4, 2) if all(a % k == 0 and a // k >= b for a, b in zip(size, least, strict=True)))
    return next(fitting, 1)


def decoding_bytes(info: ImageInfo, least: tuple[int, int] | None) -> int:
    """About how much memory `read_reduced` takes: colour in Pillow's four bytes, grey, and copies of both."""
    factor = reduction(info.size, least) if least is not None and info.format in JPEG else 1
    return DECODED_BYTES * info.width * info.height // factor**2


class _Loaded(NamedTuple):
    """A decoded image."""

    image: Image.Image
    deep: bool
    """Whether it has more than 8 bits."""
    size: tuple[int, int]
    """(width, height) in the file."""


@contextmanager
def _loaded(
    path: Path, gray: bool = True, thin: bool = False, least: tuple[int, int] | None = None
) -> Iterator[_Loaded]:
    """Decodes; ImageError also for failures while the image is used. The arguments are those of the callers."""
    with open_image(path, str(path), thin) as opened:
        if isinstance(opened, OtherTiff):
            yield _Loaded(opened, True, opened.size)
            return
        image = Image.open(BytesIO(without_orientation(path.read_bytes()))) if is_turned(opened) else opened
        deep, size = image.mode in DEEP_MODES or _deep_colour(image), image.size
        factor = 1 if least is None else reduction(size, least)
        if gray or factor > 1:
            # JPEG only: takes the luma as stored and skips the colour conversion.
            image.draft("L" if gray else None, (size[0] // factor, size[1] // factor))
        image.load()
        yield _Loaded(image, deep, size)


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
    pixels = _by_cv2(path, image, colour)
    if pixels is None:  # a rare layout that only Pillow knows: its upper 8 bits are better than nothing
        return np.asarray(_colour(image) if colour else _luma(image)).astype(np.float32)
    if pixels.shape[1::-1] != raw_size(image):
        raise ValueError(f"two decoders disagree about its size: {raw_size(image)} and {pixels.shape[1::-1]}")
    return pixels


def _by_cv2(path: Path, image: Image.Image, colour: bool) -> NDArray[np.float32] | None:
    """Grey (h, w) or, where asked for, colour (h, w, 3) in RGB. Raises ValueError: a TIFF that nobody reads."""
    import cv2

    data = path.read_bytes()  # cv2 cannot open every name on every system
    if image.format == "TIFF":
        data = without_orientation(data)
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION | (cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
    if isinstance(image, OtherTiff):  # cv2 makes no grey of these
        flags = cv2.IMREAD_UNCHANGED
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        if isinstance(image, OtherTiff):
            raise ValueError("or a TIFF of a rare kind: then save it with 8 or 16 bits per channel")
        return None
    values = np.asarray(pixels).astype(np.float32)
    if values.ndim == 2:
        return values
    return values[:, :, 2::-1] if colour else np.asarray(values[:, :, 2::-1] @ LUMA)


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
