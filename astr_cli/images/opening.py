"""Opening a photo with Pillow, with one clear line for everything that is not a readable photo."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from astr_cli.images.errors import ImageError
from astr_cli.wording import first_line

# What find_images takes; an image listed by name may be anything that Pillow reads.
# fmt: off
USUAL = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".pgm", ".ppm",
        ".pnm", ".jp2", ".avif",
    }
)
HEIF = frozenset({".heic", ".heif", ".hif"})
RAW = frozenset(
    {
        ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef",
        ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
        ".srw", ".x3f",
    }
)
# fmt: on
HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


LARGEST = 1_000_000_000  # pixels: an aerial frame of 500 megapixels twice over; a grey byte each makes 1 GB


@contextmanager
def open_image(path: Path, shown: str) -> Iterator[Image.Image]:
    """The image of `path`, its header read, open for a `with`; `shown` is how messages name it. Raises ImageError."""
    with _LARGE_IMAGES, _opened(path, shown) as image:
        yield image


def _opened(path: Path, shown: str) -> Image.Image:
    refuse_suffix(path, shown)
    # Pillow warns of large photos (from half of its limit) and of broken EXIF.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        return Image.open(path)
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
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise ImageError(f"{shown}: damaged or cut off ({first_line(error)}); copy it again") from None


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
    """Raise ImageError for HEIC and camera RAW, by the name: Pillow opens the small preview inside some RAW files."""
    suffix = path.suffix.lower()
    if suffix in HEIF:
        raise ImageError(_heif(shown))
    if suffix in RAW:
        raise ImageError(
            f"{shown}: a camera RAW file ({suffix}) cannot be read; develop it to JPEG or TIFF in full size, uncropped"
        )


def _heif(shown: str) -> str:
    return f"{shown}: an HEIC photo cannot be read; convert it to JPEG, for example: magick mogrify -format jpg *.heic"


def _not_an_image(path: Path, shown: str) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        return f"{shown}: the file is empty (0 bytes); copy it again"
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:  # phones export HEIC under the name .jpg
        return _heif(shown)
    return f"{shown}: not an image, or a damaged one (unknown format); convert it to JPEG or copy it again"
