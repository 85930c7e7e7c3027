"""Photos as textures for rendered scenes: read once, kept as grey bytes, cropped at random."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import find_images
from astr_cli.images.decode import read_gray

HELD_OUT_PERCENT = 4


@dataclass(frozen=True)
class PhotoSet:
    """Grey photos (h, w) uint8 of different sizes."""

    photos: tuple[np.ndarray, ...]

    def crops(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """`count` random square crops, resized to `side`: (count, 1, side, side) float32 in [0, 1] on the CPU."""
        import cv2

        crops = []
        for index in torch.randint(len(self.photos), (count,), generator=generator).tolist():
            photo = self.photos[index]
            share, x, y, flip = torch.rand(4, generator=generator).tolist()
            extent = max(int(min(photo.shape) * (0.6 + 0.4 * share)), 8)
            top, left = int(y * (photo.shape[0] - extent)), int(x * (photo.shape[1] - extent))
            interpolation = cv2.INTER_AREA if extent > side else cv2.INTER_LINEAR
            crop = cv2.resize(
                photo[top : top + extent, left : left + extent], (side, side), interpolation=interpolation
            )
            crops.append(crop[:, ::-1] if flip < 0.5 else crop)
        return torch.from_numpy(np.stack(crops).astype(np.float32) / 255.0)[:, None]


@dataclass(frozen=True)
class SharedPhotos:
    """A PhotoSet in memory that all processes share."""

    pixels: Tensor  # (N,) uint8, the photos one after the other
    shapes: tuple[tuple[int, int], ...]

    @staticmethod
    def of(photos: PhotoSet) -> "SharedPhotos":
        """A copy of `photos`."""
        pixels = torch.from_numpy(np.concatenate([photo.ravel() for photo in photos.photos])).share_memory_()
        return SharedPhotos(pixels, tuple((photo.shape[0], photo.shape[1]) for photo in photos.photos))

    def unpacked(self) -> PhotoSet:
        """The photos, in the same memory."""
        sizes = [height * width for height, width in self.shapes]
        parts = self.pixels.split(sizes)
        return PhotoSet(tuple(part.numpy().reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)))


def held_out(name: str) -> bool:
    """Whether a photo is for validation only. A hash of its file name decides, so this never changes."""
    return hashlib.sha256(Path(name).name.encode()).digest()[0] * 100 < HELD_OUT_PERCENT * 256


def held_out_photos(root: Path) -> PhotoSet | None:
    """The validation photos below `root`; None if there are none, as in a small folder."""
    return load_photos(root, validation=True) if any(held_out(name) for name in find_images(root)) else None


def load_photos(root: Path, validation: bool, longest: int = 512) -> PhotoSet:
    """Read the training (or the held-out) photos below `root`, reduced to `longest` pixels. Raises AstrError."""
    names = [name for name in find_images(root) if held_out(name) == validation]
    if not names:
        raise AstrError(f"{root}: contains no {'held-out' if validation else 'training'} photos")
    with ThreadPoolExecutor() as threads:
        return PhotoSet(tuple(threads.map(lambda name: _reduced(read_gray(root / name), longest), names)))


def _reduced(photo: np.ndarray, longest: int) -> np.ndarray:
    import cv2

    scale = longest / max(photo.shape)
    return photo if scale >= 1 else cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
