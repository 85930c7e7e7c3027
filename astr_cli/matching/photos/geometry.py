"""The geometry of every image: raw size, working size, and its intrinsics from EXIF or from a COLMAP camera."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from astr_cli.images.geometry import scale_intrinsics, to_original, working_size
from astr_cli.images.info import ImageInfo
from astr_cli.images.upright import UPRIGHT, to_raw, turn_intrinsics, turned, upright_size
from astr_cli.store.cameras import CameraBook, read_cameras


class View(NamedTuple):
    """An image as the model sees it."""

    size: tuple[int, int]
    """(w, h) of the raw photo."""
    working: tuple[int, int]
    """(w, h) of the upright photo after resizing, multiples of 32."""
    intrinsics: npt.NDArray[np.float64] | None
    """(3, 3) in working pixels, centre of the top-left pixel at (0, 0); None when unknown."""
    orientation: int = UPRIGHT
    """EXIF's code of what makes the raw photo upright, or stand as its partner does."""

    def to_raw(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Working pixels (M, 2) to raw ones."""
        upright = to_original(points, upright_size(self.size, self.orientation), self.working)
        return to_raw(upright, self.size, self.orientation).astype(np.float32)

    def turned(self, quarters: int) -> "View":
        """The same photo turned clockwise by quarter turns."""
        code = turned(UPRIGHT, quarters)
        known = None if self.intrinsics is None else turn_intrinsics(self.intrinsics, self.working, code)
        return View(self.size, upright_size(self.working, code), known, turned(self.orientation, quarters))


class CameraSource(NamedTuple):
    """Where intrinsics come from."""

    name: str
    """`exif`, `none`, or a hash of the cameras' content, so the path does not matter."""
    book: CameraBook | None

    def intrinsics(self, info: ImageInfo) -> npt.NDArray[np.float64] | None:
        """(3, 3) in raw pixels; None when unknown."""
        if self.book is not None:
            return self.book.intrinsics(info.name, info.width, info.height)
        return exif_intrinsics(info) if self.name == "exif" else None


def read_camera_source(cameras: str) -> CameraSource:
    """The source that `--cameras` names: exif, none, or the path of COLMAP cameras. Raises CamerasError."""
    if cameras in ("exif", "none"):
        return CameraSource(cameras, None)
    book = read_cameras(Path(cameras))
    return CameraSource(f"colmap {book.fingerprint}", book)


def make_views(
    infos: Mapping[str, ImageInfo], source: CameraSource, long_side: int, exif_orientation: bool = True
) -> dict[str, View]:
    """The `View` of each image, made upright by its EXIF orientation or left as it is stored.

    Raises CamerasError for a photo that does not fit its camera.
    """
    return {
        name: make_view(
            info.size, long_side, source.intrinsics(info), info.orientation if exif_orientation else UPRIGHT
        )
        for name, info in infos.items()
    }


def make_view(
    size: tuple[int, int],
    long_side: int,
    intrinsics: npt.NDArray[np.float64] | None,
    orientation: int = UPRIGHT,
) -> View:
    """The `View` of an image of `size` (w, h) whose raw intrinsics (3, 3) are known, or None."""
    upright = upright_size(size, orientation)
    working = working_size(*upright, long_side)
    if intrinsics is None:
        return View(size, working, None, orientation)
    standing = turn_intrinsics(intrinsics, size, orientation)
    return View(size, working, scale_intrinsics(standing, upright, working), orientation)


def exif_intrinsics(info: ImageInfo) -> npt.NDArray[np.float64] | None:
    """(3, 3) in raw pixels from the EXIF focal length, the principal point in the middle; None: no focal length."""
    if info.focal is None:
        return None
    centre_x, centre_y = (info.width - 1) / 2, (info.height - 1) / 2
    return np.array([[info.focal, 0.0, centre_x], [0.0, info.focal, centre_y], [0.0, 0.0, 1.0]])
