"""The geometry of every image: raw size, matched size, and its intrinsics from EXIF or from a COLMAP camera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from astr_cli.images.geometry import matched_size, scale_intrinsics, to_matched, to_original
from astr_cli.images.info import ImageInfo, focal_note
from astr_cli.images.upright import UPRIGHT, to_raw, to_upright, turn_intrinsics, turned, upright_size
from astr_cli.matching.photos.known_cameras import known_cameras
from astr_cli.store.cameras import CameraBook, read_cameras


class PhotoGeometry(NamedTuple):
    """An image as the model sees it."""

    size: tuple[int, int]
    """(w, h) of the raw photo."""
    matched: tuple[int, int]
    """(w, h) of the upright photo after resizing, multiples of 32."""
    intrinsics: npt.NDArray[np.float64] | None
    """(3, 3) in matched pixels, centre of the top-left pixel at (0, 0); None when unknown."""
    orientation: int = UPRIGHT
    """EXIF's code of the rotation (and mirror) that makes the raw photo upright, or matches it to its partner."""

    def to_raw(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Matched pixels (M, 2) to raw ones."""
        upright = to_original(points, upright_size(self.size, self.orientation), self.matched)
        return to_raw(upright, self.size, self.orientation).astype(np.float32)

    def from_raw(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Raw pixels (M, 2) to matched ones; the inverse of `to_raw`."""
        upright = to_upright(points, self.size, self.orientation)
        return to_matched(upright, upright_size(self.size, self.orientation), self.matched)

    def turned(self, quarters: int) -> PhotoGeometry:
        """The same photo rotated clockwise by quarter turns."""
        code = turned(UPRIGHT, quarters)
        known = None if self.intrinsics is None else turn_intrinsics(self.intrinsics, self.matched, code)
        return PhotoGeometry(self.size, upright_size(self.matched, code), known, turned(self.orientation, quarters))


class CameraSource(NamedTuple):
    """The source of intrinsics."""

    name: str
    """`exif`, `none`, or a hash of the cameras' content, so the path does not matter."""
    book: CameraBook | None

    def intrinsics(self, infos: Mapping[str, ImageInfo]) -> Intrinsics:
        """Those of photos. Raises CamerasError: the cameras do not fit the photos."""
        if self.book is not None:
            known = known_cameras(self.book, {name: info.size for name, info in infos.items()})
            found = {name: camera.matrix() for name, camera in known.cameras.items()}
            return Intrinsics(found, known.notes)
        if self.name != "exif":
            return Intrinsics({}, ())
        note = focal_note(infos.values())
        return Intrinsics({name: exif_intrinsics(info) for name, info in infos.items()}, (note,) if note else ())


class Intrinsics(NamedTuple):
    """The intrinsics of photos."""

    matrices: Mapping[str, npt.NDArray[np.float64] | None]
    """(3, 3) in raw pixels, by name; missing or None: unknown."""
    notes: tuple[str, ...]
    """What a user should know of them, one line each."""


def read_camera_source(cameras: str) -> CameraSource:
    """The source that `--cameras` names: exif, none, or the path of COLMAP cameras. Raises CamerasError."""
    if cameras in ("exif", "none"):
        return CameraSource(cameras, None)
    book = read_cameras(Path(cameras))
    return CameraSource(f"colmap {book.fingerprint}", book)


def photo_geometries(
    infos: Mapping[str, ImageInfo], known: Intrinsics, long_side: int, exif_orientation: bool = True
) -> dict[str, PhotoGeometry]:
    """The `PhotoGeometry` of each image, made upright by its EXIF orientation or left as it is stored."""
    return {
        name: photo_geometry(
            info.size, long_side, known.matrices.get(name), info.orientation if exif_orientation else UPRIGHT
        )
        for name, info in infos.items()
    }


def photo_geometry(
    size: tuple[int, int],
    long_side: int,
    intrinsics: npt.NDArray[np.float64] | None,
    orientation: int = UPRIGHT,
) -> PhotoGeometry:
    """The `PhotoGeometry` of an image of `size` (w, h) whose raw intrinsics (3, 3) are known, or None."""
    upright = upright_size(size, orientation)
    matched = matched_size(*upright, long_side)
    if intrinsics is None:
        return PhotoGeometry(size, matched, None, orientation)
    standing = turn_intrinsics(intrinsics, size, orientation)
    return PhotoGeometry(size, matched, scale_intrinsics(standing, upright, matched), orientation)


def exif_intrinsics(info: ImageInfo) -> npt.NDArray[np.float64] | None:
    """(3, 3) in raw pixels from the EXIF focal length, the principal point in the middle; None: no focal length."""
    if info.focal is None:
        return None
    centre_x, centre_y = (info.width - 1) / 2, (info.height - 1) / 2
    return np.array([[info.focal, 0.0, centre_x], [0.0, info.focal, centre_y], [0.0, 0.0, 1.0]])
