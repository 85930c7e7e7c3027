"""Masks named as COLMAP does: for the photo NAME the file NAME.png below the masks folder; 0 means: ignore."""

import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.decode import read_nonzero
from astr_cli.images.errors import ImageError
from astr_cli.images.info import ImageInfo
from astr_cli.images.opening import open_image
from astr_cli.images.tiff import raw_size


def find_mask(folder: Path, name: str) -> Path | None:
    """The mask of the photo `name`: NAME.png (a.jpg.png), else the same with its suffix replaced (a.png); or None."""
    candidates = (folder / f"{name}.png", folder / PurePosixPath(name).with_suffix(".png"))
    return next((path for path in candidates if path.is_file()), None)


def find_masks(folder: Path, names: list[str]) -> dict[str, Path]:
    """The existing masks. Raises ImageError for a missing folder, and for one without a mask of these photos."""
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; name the folder of the masks with --masks")
    found = {name: path for name in names if (path := find_mask(folder, name)) is not None}
    if not found and names:
        raise ImageError(f"{folder}: holds no mask for any photo; name the mask of {names[0]} {names[0]}.png")
    return found


def find_mask_by_path(folder: Path, photo: Path) -> Path | None:
    """The mask of a photo whose image folder is not known: for sub/a.jpg that of sub/a.jpg, else that of a.jpg.

    Raises ImageError for a missing folder.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; name the folder of the masks with --masks")
    parts = [part for part in photo.parts if part not in (photo.anchor, "..")]
    names = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((found for name in names if (found := find_mask(folder, name)) is not None), None)


def read_mask(path: Path | None, info: ImageInfo) -> NDArray[np.bool_]:
    """(h, w) of the raw photo, True = to be matched: any value but zero; all True without a mask.

    Raises ImageError for a file that cannot be read or is not of the photo's raw size.
    """
    if path is None:
        return np.ones((info.height, info.width), np.bool_)
    with open_image(path, str(path), thin=True) as image:  # a mask needs as much memory as its photo, never more
        size = raw_size(image)
    if size != info.size:
        raise ImageError(
            f"{path}: is {size[0]}x{size[1]}, but the stored pixels of {info.name} are {info.width}x"
            f"{info.height}; make the mask at that size, EXIF orientation not applied"
        )
    return read_nonzero(path)


def shrink_mask(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """`mask` (h, w) at `size` (w, h): True where at least half of a pixel is."""
    import cv2

    if (mask.shape[1], mask.shape[0]) == tuple(size):
        return mask
    shrinking = size[0] <= mask.shape[1] and size[1] <= mask.shape[0]
    kind = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=kind) >= 0.5)


class PackedMask(NamedTuple):
    """A raw mask in a few kilobytes: the masks of all photos are held at the same time."""

    width: int
    height: int
    bits: bytes

    @staticmethod
    def of(mask: NDArray[np.bool_]) -> "PackedMask":
        """Packs a mask (h, w)."""
        return PackedMask(mask.shape[1], mask.shape[0], zlib.compress(np.packbits(mask).tobytes(), 1))

    def unpacked(self) -> NDArray[np.bool_]:
        """The mask again, (h, w)."""
        packed = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        return np.unpackbits(packed, count=self.width * self.height).reshape(self.height, self.width).astype(np.bool_)

    def passes(self, points: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which raw pixels (M, 2) are to be kept: the mask's nearest pixel counts."""
        column, row = np.rint(points).astype(np.int64).T
        place = row.clip(0, self.height - 1) * self.width + column.clip(0, self.width - 1)
        packed = np.frombuffer(zlib.decompress(self.bits), np.uint8)
        return np.asarray(packed[place >> 3] >> (7 - (place & 7)).astype(np.uint8) & 1, np.bool_)
