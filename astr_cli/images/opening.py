"""Opening a photo with Pillow, with one clear line for everything that is not a readable photo."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from astr_cli.images.errors import ImageError
from astr_cli.images.heif import is_heif, register_heif
from astr_cli.images.tiff import OtherTiff
from astr_cli.wording import first_line

# What find_images takes; an image listed by name may be anything that Pillow reads.
# fmt: off
USUAL = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".pgm", ".ppm",
        ".pnm", ".jp2", ".avif",
    }
)
RAW = frozenset(
    {
        ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef",
        ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
        ".srw", ".x3f",
    }
)
# fmt: on

LARGEST = 1_000_000_000  # pixels: an aerial frame of 500 megapixels twice over; a grey byte each makes 1 GB
# No photo of more than so many pixels has more than so many of them in a byte: an empty JPEG has 170, a PNG 1032.
HARMLESS, THINNEST = 25_000_000, 2000


@contextmanager
def open_image(path: Path, shown: str, thin: bool = False) -> Iterator[Image.Image]:
    """The image of `path`, its header read, open for a `with`; `shown` is how messages name it.

    thin: whether a huge image of few bytes is taken, as masks may be. Raises ImageError, also for every error of a
    decoder inside the `with`.
    """
    with _LARGE_IMAGES, _opened(path, shown) as image, decoding(shown):
        width, height = image.size
        size = path.stat().st_size
        if not thin and width * height > max(HARMLESS, THINNEST * size):
            raise ImageError(
                f"{shown}: claims {width}x{height} pixels in {size} bytes, so it is no photo; copy it again"
            )
        yield image


@contextmanager
def decoding(shown: str) -> Iterator[None]:
    """Turns every error of a decoder into an ImageError: each library has its own kinds, and new ones appear."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError(f"{shown}: damaged or cut off ({first_line(error)}); copy it again") from None


def _opened(path: Path, shown: str) -> Image.Image:
    refuse_suffix(path, shown)
    # Pillow warns of large photos (from half of its limit) and of broken EXIF.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        return _opened_by_pillow(path, shown)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(_not_an_image(path, shown)) from None
    except Image.DecompressionBombError:
        raise ImageError(f"{shown}: larger than {LARGEST // 10**6} megapixels; save a smaller copy") from None
    except FileNotFoundError:
        raise ImageError(f"{shown}: no such file; check the name") from None
    except IsADirectoryError:
        raise ImageError(f"{shown}: is a folder, not a photo") from None
    except PermissionError:
        reason = "is a folder, not a photo" if path.is_dir() else "no permission to read it; change its permissions"
        raise ImageError(f"{shown}: {reason}") from None
    except Exception as error:  # the decoders' own: RuntimeError for AVIF
        raise ImageError(f"{shown}: damaged or cut off ({first_line(error)}); copy it again") from None


def _opened_by_pillow(path: Path, shown: str) -> Image.Image:
    """By Pillow's plugins, or by those that Pillow lacks."""
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        with path.open("rb") as file:
            head = file.read(16)
        if is_heif(head):  # phones export HEIC under the name .jpg, too
            register_heif(shown)
            return Image.open(path)
        if head[:4] in OtherTiff.HEADS:
            return OtherTiff(path)
        raise


class _PixelLimit:
    """Raises Pillow's guard against small files that decode to huge images to `LARGEST` while photos are read.

    The guard belongs to the process. Its default, 178 megapixels, is below what phones take: the first thread that
    enters moves it and the last one that leaves puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, LARGEST // 2  # it refuses twice that
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._before


_LARGE_IMAGES = _PixelLimit()


def refuse_suffix(path: Path, shown: str) -> None:
    """Raise ImageError for camera RAW, by the name: Pillow opens the small preview inside some RAW files."""
    suffix = path.suffix.lower()
    if suffix in RAW:
        raise ImageError(
            f"{shown}: a camera RAW file ({suffix}) cannot be read; develop it to JPEG or TIFF in full size, uncropped"
        )


def _not_an_image(path: Path, shown: str) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        return f"{shown}: the file is empty (0 bytes); copy it again"
    if is_heif(head):
        return f"{shown}: damaged or cut off (HEIC); copy it again"
    return f"{shown}: not an image, or a damaged one (unknown format); convert it to JPEG or copy it again"
