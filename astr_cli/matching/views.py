"""The geometry of every image: raw size, working size, and its intrinsics from EXIF or from a COLMAP camera."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from astr_cli.images import ImageInfo, scale_intrinsics, working_size
from astr_cli.matching.runner import View
from astr_cli.store import CameraBook, read_cameras


class CameraSource(NamedTuple):
    """Where intrinsics come from."""

    name: str
    """`exif`, `none`, or the content's hash of COLMAP cameras: what decides a result, whatever the path."""
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


def make_views(infos: Mapping[str, ImageInfo], source: CameraSource, long_side: int) -> dict[str, View]:
    """The `View` of each image. Raises CamerasError for a photo that does not fit its camera."""
    return {name: make_view(info.size, long_side, source.intrinsics(info)) for name, info in infos.items()}


def make_view(size: tuple[int, int], long_side: int, intrinsics: npt.NDArray[np.float64] | None) -> View:
    """The `View` of an image of `size` (w, h) whose raw intrinsics (3, 3) are known, or None."""
    working = working_size(*size, long_side)
    return View(size, working, None if intrinsics is None else scale_intrinsics(intrinsics, size, working))


def exif_intrinsics(info: ImageInfo) -> npt.NDArray[np.float64] | None:
    """(3, 3) in raw pixels from the EXIF focal length, the principal point in the middle; None: no focal length."""
    if info.focal is None:
        return None
    centre_x, centre_y = (info.width - 1) / 2, (info.height - 1) / 2
    return np.array([[info.focal, 0.0, centre_x], [0.0, info.focal, centre_y], [0.0, 0.0, 1.0]])
