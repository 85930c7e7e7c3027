"""A cache of photos at other sizes than the whole photos are matched at."""

from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from astr_cli.images.decode import read_gray
from astr_cli.images.info import ImageInfo
from astr_cli.images.masks import PackedMask
from astr_cli.images.upright import UPRIGHT, turn_pixels, upright_size
from astr_cli.matching.resources.shared_cache import SharedCache

Key: TypeAlias = tuple[str, int, tuple[int, int]]  # photo, orientation, size


class Level(NamedTuple):
    """A photo at one size."""

    pixels: npt.NDArray[np.uint8]  # (h, w)
    mask: npt.NDArray[np.bool_] | None

    @property
    def nbytes(self) -> int:
        """The bytes of both arrays."""
        return self.pixels.nbytes + (0 if self.mask is None else self.mask.nbytes)

    def turned(self, orientation: int) -> "Level":
        """Rotates a photo from the raw grid upright; both arrays are views of the same memory."""
        mask = None if self.mask is None else turn_pixels(self.mask, orientation)
        return Level(turn_pixels(self.pixels, orientation), mask)

    def resized(self, size: tuple[int, int]) -> "Level":
        """An upright photo at `size` (w, h): area average when shrinking, else bilinear."""
        height, width = self.pixels.shape
        if size == (width, height):
            return self
        shrinking = size[0] <= width and size[1] <= height
        kind = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        pixels = cv2.resize(np.ascontiguousarray(self.pixels), size, interpolation=kind)
        mask = self.mask
        if mask is not None:
            mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return Level(np.asarray(pixels, np.uint8), mask)


class Pyramids:
    """The levels used last, of all photos of a run."""

    def __init__(self) -> None:
        self._levels: SharedCache[Key, Level] = SharedCache(lambda level: level.nbytes)

    def get(self, info: ImageInfo, packed: PackedMask | None, orientation: int, size: tuple[int, int]) -> Level:
        """The photo with its mask, made upright by `orientation`, at `size` (w, h). Raises ImageError."""
        full = upright_size(info.size, orientation)
        if size == full:
            raw = self._levels.get((info.name, UPRIGHT, info.size), lambda: _read(info, packed))
            return raw.turned(orientation)
        key = (info.name, orientation, size)
        return self._levels.get(key, lambda: self.get(info, packed, orientation, full).resized(size))


def _read(info: ImageInfo, packed: PackedMask | None) -> Level:
    return Level(read_gray(info.path), None if packed is None else packed.unpacked())
