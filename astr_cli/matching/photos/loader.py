"""Decode threads: photos are read and resized ahead of the model, a bounded number of them."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from astr_cli.images.decode import read_reduced
from astr_cli.images.errors import ImageError
from astr_cli.images.geometry import resize
from astr_cli.images.info import ImageInfo
from astr_cli.images.masks import PackedMask, read_mask, shrink_mask
from astr_cli.images.upright import UPRIGHT, turn_pixels, upright_size
from astr_cli.matching.photos.geometry import PhotoGeometry

Gray = npt.NDArray[np.float32]  # (h, w) in [0, 1]


class Photo(NamedTuple):
    """The model's input from one photo, upright and at its matched size."""

    gray: Gray
    mask: npt.NDArray[np.bool_] | None
    """(h, w), True = to be matched; None: every pixel."""
    raw_mask: PackedMask | None
    """The same on the raw grid."""


def load_image(info: ImageInfo, matched: tuple[int, int], orientation: int = UPRIGHT) -> Gray:
    """Decodes a photo, rotates it upright and resizes it to `matched` (w, h); (h, w) float32 in [0, 1].

    Raises ImageError when it vanished, cannot be decoded, or is no longer the file that `info` describes.
    """
    if changed(info):
        raise ImageError(f"{info.path}: changed or vanished since the run started; run the same command again")
    least = upright_size((2 * matched[0], 2 * matched[1]), orientation)
    gray, size = read_reduced(info.path, least)
    if size != info.size:
        shown = f"{size[0]}x{size[1]}"
        raise ImageError(f"{info.path}: header says {info.width}x{info.height}, its pixels are {shown}; save it again")
    return resize(np.ascontiguousarray(turn_pixels(gray, orientation)), matched)


def load_mask(info: ImageInfo, mask: Path | None, view: PhotoGeometry) -> tuple[npt.NDArray[np.bool_], PackedMask]:
    """A photo's mask as the model sees it, (h, w), and on the raw grid; all True without a file. Raises ImageError."""
    raw = read_mask(mask, info)
    return shrink_mask(np.ascontiguousarray(turn_pixels(raw, view.orientation)), view.matched), PackedMask.of(raw)


def changed(info: ImageInfo) -> bool:
    """Whether the file is gone or differs in time, size or inode from what `info` describes."""
    try:
        stat = info.path.stat()
    except OSError:
        return True
    inode = info.inode or stat.st_ino
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino) != (info.mtime_ns, info.file_size, inode)


class Loader:
    """Decodes images in `workers` threads; at most `2 * workers` are being decoded or waiting to be taken."""

    def __init__(
        self,
        infos: Mapping[str, ImageInfo],
        views: Mapping[str, PhotoGeometry],
        workers: int,
        masks: Mapping[str, Path] | None = None,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._infos = infos
        self._views = views
        self._masks = masks  # None: no masks
        self._timed = timed  # entered around each decoding
        self._room = 2 * workers
        self._waiting: dict[str, Future[Photo]] = {}
        # One thread per image is faster than several threads on one image, and leaves the cores to the model.
        self._cv2_threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="astr-decode")

    def close(self) -> None:
        """Cancels the images not yet begun and waits for the others."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(self._cv2_threads)

    def full(self) -> bool:
        """Whether no further image can be asked for until one is taken."""
        return len(self._waiting) >= self._room

    def prefetch(self, names: Iterable[str]) -> None:
        """Starts to decode the named images, in this order, as far as there is room."""
        for name in names:
            if self.full():
                return
            if name not in self._waiting:
                self._waiting[name] = self._pool.submit(self._load, name)

    def take(self, name: str) -> Photo:
        """The decoded image; decoded now if not requested before. Raises ImageError as `load_image` does."""
        waiting = self._waiting.pop(name, None)
        return self._load(name) if waiting is None else waiting.result()

    def _load(self, name: str) -> Photo:
        info, view = self._infos[name], self._views[name]
        with self._timed():
            gray = load_image(info, view.matched, view.orientation)
            if self._masks is None:
                return Photo(gray, None, None)
            return Photo(gray, *load_mask(info, self._masks.get(name), view))
