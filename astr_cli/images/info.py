"""Facts about a photo without decoding it: size, times, EXIF orientation, focal length, camera and place."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from astr_cli.images.errors import ImageError
from astr_cli.images.gps import Place, exif_place
from astr_cli.images.opening import open_image
from astr_cli.images.png import png_exif
from astr_cli.images.tiff import raw_size
from astr_cli.images.truncation import ends_early
from astr_cli.wording import counted

FILM_DIAGONAL = 43.27  # mm of a 36 x 24 frame, the figure that COLMAP divides by
# Focal lengths over the long side of the photo: 157 degrees, a fisheye of 4 mm, to half a degree, a telescope.
SHORTEST, LONGEST = 0.1, 100.0
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
    camera: str = ""  # make, model and focal length in the words of EXIF; empty unless it has all three
    inode: int = 0  # of the file; 0: unknown
    place: Place | None = None  # from EXIF
    format: str = ""  # by Pillow's name, such as JPEG
    odd_focal: float | None = None  # raw pixels, from EXIF: a focal length that cannot be

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
        status = path.stat()
        width, height = raw_size(image)
        if ends_early(path, image):
            raise ImageError(f"{name}: the file is cut off (truncated {image.format}); copy it again")
        exif = _exif(path, image, width, height)
    plausible = [focal for focal in exif.focals if plausible_focal(focal, width, height)]
    return ImageInfo(
        name=name,
        path=path,
        width=width,
        height=height,
        mtime_ns=status.st_mtime_ns,
        file_size=status.st_size,
        orientation=exif.orientation,
        focal=plausible[0] if plausible else None,
        camera=exif.camera,
        inode=status.st_ino,
        place=exif.place,
        format=image.format or "",
        odd_focal=exif.focals[0] if exif.focals and not plausible else None,
    )


def plausible_focal(focal: float, width: int, height: int) -> bool:
    """Whether a camera can have this focal length, all in pixels: the rule for EXIF and for files of cameras."""
    return SHORTEST <= focal / max(width, height) <= LONGEST


def focal_note(infos: Iterable[ImageInfo]) -> str | None:
    """A line on photos whose EXIF gives a focal length that cannot be; None without one."""
    odd = [(info.name, info.odd_focal) for info in infos if info.odd_focal is not None]
    if not odd:
        return None
    more = f" (and {counted(len(odd) - 1, 'more photo')})" if len(odd) > 1 else ""
    return (
        f"{odd[0][0]}{more}: EXIF gives a focal length of {odd[0][1]:.3g} pixels, which cannot be; astr treats it as "
        "unknown"
    )


class _Exif(NamedTuple):
    """What astr takes from EXIF; fields as those of ImageInfo."""

    orientation: int = 1
    focals: tuple[float, ...] = ()
    """Raw pixels, the better source first."""
    camera: str = ""
    place: Place | None = None


def _exif(path: Path, image: Image.Image, width: int, height: int) -> _Exif:
    """Broken EXIF is the same as none: plenty of software writes it. So is a broken part of it."""
    try:
        exif = png_exif(path, image) if image.format == "PNG" else image.getexif()
        main = dict(exif)
    except Exception:
        return _Exif()
    orientation = main.get(ExifTags.Base.Orientation, 1)
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    details = _part(exif, ExifTags.IFD.Exif)
    place = exif_place(_part(exif, ExifTags.IFD.GPSInfo))
    return _Exif(orientation, tuple(_focals(details, width, height)), _camera(main, details), place)


def _part(exif: Image.Exif, number: int) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(number))
    except Exception:
        return {}


def _camera(main: dict[int, Any], details: dict[int, Any]) -> str:
    """The text by which photos share a camera, as COLMAP has it; empty where a part is missing."""
    length = details.get(ExifTags.Base.FocalLengthIn35mmFilm) or details.get(ExifTags.Base.FocalLength) or ""
    parts = [
        str(part).strip(" \0") for part in (main.get(ExifTags.Base.Make, ""), main.get(ExifTags.Base.Model, ""), length)
    ]
    return " ".join(parts) if all(parts) else ""


def _focals(exif: dict[int, Any], width: int, height: int) -> Iterator[float]:
    """Focal lengths in raw pixels, plausible or not, the better source first.

    FocalLengthIn35mmFilm over the diagonal, as COLMAP 4 does: f35 / 43.27 * hypot(w, h). Else FocalLength (mm) times
    FocalPlaneXResolution, scaled when the photo was resized after the camera wrote its EXIF size. COLMAP's third
    source, a table of sensor widths by camera model, is not used here.
    """
    film = _number(exif.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if film is not None:
        yield film / FILM_DIAGONAL * math.hypot(width, height)
    length = _number(exif.get(ExifTags.Base.FocalLength))
    density = _number(exif.get(ExifTags.Base.FocalPlaneXResolution))
    unit = UNIT_MM.get(int(_number(exif.get(ExifTags.Base.FocalPlaneResolutionUnit)) or 2))
    if length is None or density is None or unit is None:
        return
    written = max(
        _number(exif.get(ExifTags.Base.ExifImageWidth)) or 0.0, _number(exif.get(ExifTags.Base.ExifImageHeight)) or 0.0
    )
    # Some cameras write a resolution of 1 or of a screen: then the result is no plausible focal length.
    yield length * density / unit * (max(width, height) / written if written else 1.0)


def _number(value: Any) -> float | None:
    """A positive finite number, or None for anything else that EXIF may hold there."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
