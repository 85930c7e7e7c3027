"""Facts about a photo without decoding it: size, times, EXIF orientation and focal length."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from astr_cli.images.errors import ImageError
from astr_cli.images.opening import open_image
from astr_cli.images.png import png_exif
from astr_cli.images.tiff import raw_size
from astr_cli.images.truncation import ends_early
from astr_cli.wording import first_line

FILM_DIAGONAL = 43.27  # mm of a 36 x 24 frame, the figure that COLMAP divides by
UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # EXIF FocalPlaneResolutionUnit; absent means inches


@dataclass(frozen=True)
class ImageInfo:
    """A photo as it lies on disk."""

    name: str  # POSIX path relative to the image root
    path: Path
    width: int  # raw pixels: EXIF orientation not applied
    height: int
    mtime_ns: int
    file_size: int  # bytes
    orientation: int  # EXIF, 1..8; 1 when absent
    focal: float | None  # raw pixels, from EXIF; None = unknown, never a guess
    named: bool = False  # whether EXIF has the make and the model of the camera
    inode: int = 0  # of the file; 0: unknown

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height


def read_info(root: Path, name: str) -> ImageInfo:
    """Read the header of the photo `name` below `root`, and see from its tail that it is whole; nothing is decoded.

    Raises ImageError: missing, a folder, empty, not an image, cut off, HEIC or camera RAW.
    """
    path = root / name
    with open_image(path, name) as image:
        try:
            status = path.stat()
            width, height = raw_size(image)
            if ends_early(path, image):
                raise ImageError(f"{name}: the file is cut off (truncated {image.format}); copy it again")
            orientation, focal, named = _exif(path, image, width, height)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ImageError(f"{name}: cannot be read ({first_line(error)}); copy it again") from None
    times = status.st_mtime_ns, status.st_size
    return ImageInfo(name, path, width, height, *times, orientation, focal, named, status.st_ino)


def _exif(path: Path, image: Image.Image, width: int, height: int) -> tuple[int, float | None, bool]:
    """(orientation, focal in raw pixels or None, whether the camera is named).

    Broken EXIF is the same as none: plenty of software writes it.
    """
    try:
        exif = png_exif(path, image) if image.format == "PNG" else image.getexif()
        details = exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:
        return 1, None, False
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    named = all(str(exif.get(tag, "")).strip(" \0") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    return orientation, _focal(details, width, height), named


def _focal(exif: dict[int, Any], width: int, height: int) -> float | None:
    """Focal length in raw pixels.

    FocalLengthIn35mmFilm over the diagonal, as COLMAP 4 does: f35 / 43.27 * hypot(w, h). Else FocalLength (mm) times
    FocalPlaneXResolution, scaled when the photo was resized after the camera wrote its EXIF size. COLMAP's third
    source, a table of sensor widths by camera model, is not used.
    """
    film = _number(exif.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if film is not None:
        return film / FILM_DIAGONAL * math.hypot(width, height)
    length = _number(exif.get(ExifTags.Base.FocalLength))
    density = _number(exif.get(ExifTags.Base.FocalPlaneXResolution))
    unit = UNIT_MM.get(int(_number(exif.get(ExifTags.Base.FocalPlaneResolutionUnit)) or 2))
    if length is None or density is None or unit is None:
        return None
    written = max(
        _number(exif.get(ExifTags.Base.ExifImageWidth)) or 0.0, _number(exif.get(ExifTags.Base.ExifImageHeight)) or 0.0
    )
    focal = length * density / unit * (max(width, height) / written if written else 1.0)
    # Some cameras write a resolution of 1 or of a screen: outside of 5 to 150 degrees it is no focal length.
    return focal if 0.134 < focal / max(width, height) < 12 else None


def _number(value: Any) -> float | None:
    """A positive finite number, or None for anything else that EXIF may hold there."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
