"""Matching a part of one photo with a part of another, each at a size of its own."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from astr_cli.images.geometry import scale_intrinsics, to_matched
from astr_cli.images.upright import to_raw, to_upright, upright_size
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.regions.geometry import Points, Window
from astr_cli.matching.run.model_runner import PairInput, Runner
from astr_cli.store.types import PairMatches


class Sized(NamedTuple):
    """A photo, upright, at some size."""

    pixels: npt.NDArray[np.uint8]  # (h, w)
    mask: npt.NDArray[np.bool_] | None
    view: PhotoGeometry  # of the whole photo

    @property
    def size(self) -> tuple[int, int]:
        """(w, h) at this size."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def full(self) -> tuple[int, int]:
        """(w, h) upright at full size."""
        return upright_size(self.view.size, self.view.orientation)

    def from_raw(self, points: npt.NDArray[np.float32]) -> Points:
        """Raw pixels (M, 2) to pixels of this size."""
        upright = to_upright(points, self.view.size, self.view.orientation)
        return to_matched(upright, self.full, self.size).astype(np.float64)

    def window(self, where: Window) -> "tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None, PhotoGeometry]":
        """Grey (h, w) in [0, 1] and mask of a part, the border repeated beyond the edges, and how to come back."""
        rows = np.arange(where.y, where.y + where.height).clip(0, self.size[1] - 1)
        columns = np.arange(where.x, where.x + where.width).clip(0, self.size[0] - 1)
        part = np.ix_(rows, columns)
        gray = self.pixels[part].astype(np.float32) / np.float32(255)
        known = None
        if self.view.intrinsics is not None:
            known = scale_intrinsics(self.view.intrinsics, self.view.matched, self.size)
            known[:2, 2] -= where.x, where.y
        # A view of its own "photo", the window: points come back in the window's pixels.
        view = PhotoGeometry((where.width, where.height), (where.width, where.height), known)
        return gray, None if self.mask is None else self.mask[part], view

    def to_raw(self, points: npt.NDArray[np.float32], where: Window) -> npt.NDArray[np.float32]:
        """Pixels (M, 2) of a window to raw ones."""
        upright = to_matched(points.astype(np.float64) + (where.x, where.y), self.size, self.full)
        return to_raw(upright, self.view.size, self.view.orientation).astype(np.float32)


class Part(NamedTuple):
    """A part of a photo."""

    photo: Sized
    where: Window


def match_parts(
    runner: Runner,
    part0: Part,
    part1: Part,
    pair: PairInput,
    counts: Callable[[Points], npt.NDArray[np.bool_]] = lambda points: np.ones(len(points), np.bool_),
) -> PairMatches:
    """The matches of two parts in raw pixels: inside both photos, off the masks of `pair`, and of those points (M, 2)
    of image0, in pixels of the sized photo, that `counts` says."""
    gray0, mask0, view0 = part0.photo.window(part0.where)
    gray1, mask1, view1 = part1.photo.window(part1.where)
    features0, features1 = runner.extract(gray0, mask0), runner.extract(gray1, mask1)
    found = runner.match([PairInput(features0, features1, view0, view1)])[0]
    inside = counts(found.keypoints0.astype(np.float64) + part0.where[:2])
    for (photo, where), points in zip((part0, part1), (found.keypoints0, found.keypoints1), strict=True):
        placed = points + (where.x, where.y)
        inside &= ((placed >= -0.5) & (placed <= np.array(photo.size) - 0.5)).all(axis=1)
    keypoints0 = part0.photo.to_raw(found.keypoints0[inside], part0.where)
    keypoints1 = part1.photo.to_raw(found.keypoints1[inside], part1.where)
    matches = PairMatches(keypoints0, keypoints1, found.scores[inside], found.reference[inside])
    if pair.mask0 is None or pair.mask1 is None:
        return matches
    return matches.where(pair.mask0.passes(keypoints0) & pair.mask1.passes(keypoints1))
