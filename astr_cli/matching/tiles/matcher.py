"""`--tiles`: a pair that was matched at small size is matched again at full size, one pair of tiles at a time.

The small matches say which part of image1 a tile of image0 shows, and how much larger or smaller. Both are taken from
the level of their photo's pyramid at which objects look equally large. Rows count only inside their tile's core.
NOTE not in the paper (docs/model.md, Around the model).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from astr_cli.images.geometry import scale_intrinsics, to_matched
from astr_cli.images.info import ImageInfo
from astr_cli.images.masks import PackedMask
from astr_cli.images.upright import to_raw, to_upright, upright_size
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.run.model_runner import PairInput, Runner
from astr_cli.matching.tiles.geometry import Tile, Window, levels_for, tiles, window_around
from astr_cli.matching.tiles.pyramid import Pyramids
from astr_cli.model.astr import MatchSettings
from astr_cli.model.scaling import affine_ratios
from astr_cli.store.types import ARRAYS, PairMatches

FEWEST = 6  # small matches that a tile needs


class Sized(NamedTuple):
    """A photo, upright, at one level of its pyramid."""

    pixels: npt.NDArray[np.uint8]  # (h, w)
    mask: npt.NDArray[np.bool_] | None
    view: PhotoGeometry  # of the small pass

    @property
    def size(self) -> tuple[int, int]:
        """(w, h) at this level."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def full(self) -> tuple[int, int]:
        """(w, h) upright at full size."""
        return upright_size(self.view.size, self.view.orientation)

    def from_raw(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Raw pixels (M, 2) to pixels of this level."""
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


class TileMatcher:
    """Matches pairs at full size, in tiles of `side` pixels (a multiple of 32)."""

    def __init__(self, runner: Runner, settings: MatchSettings, side: int) -> None:
        self._runner = runner
        self._settings = settings
        self._side = side
        self._pyramids = Pyramids()

    def match(self, info0: ImageInfo, info1: ImageInfo, pair: PairInput, small: PairMatches) -> PairMatches:
        """The pair's matches at full size, from those of the small pass, in raw pixels. Raises ImageError."""
        if max(*pair.view0.size, *pair.view1.size) <= self._side or len(small) < FEWEST:
            return small
        levels = levels_for(size_ratio(small, pair.view0, pair.view1))
        photo0 = self._sized(info0, pair.view0, pair.mask0, levels[0])
        photo1 = self._sized(info1, pair.view1, pair.mask1, levels[1])
        return merged(list(self._tiles(photo0, photo1, pair, small)), self._settings.max_matches)

    def _sized(self, info: ImageInfo, view: PhotoGeometry, packed: PackedMask | None, level: int) -> Sized:
        return Sized(*self._pyramids.get(info, packed, view.orientation, level), view)

    def _tiles(self, photo0: Sized, photo1: Sized, pair: PairInput, small: PairMatches) -> Iterator[PairMatches]:
        points0, points1 = photo0.from_raw(small.keypoints0), photo1.from_raw(small.keypoints1)
        for tile in tiles(photo0.size, self._side):
            near = tile.holds(points0)
            if near.sum() < FEWEST:
                continue
            where0 = Window(tile.x.origin, tile.y.origin, tile.x.size, tile.y.size)
            where1 = window_around(points1[near], photo1.size, self._side)
            yield self._match_tile(tile, (photo0, where0), (photo1, where1), pair)

    def _match_tile(
        self, tile: Tile, side0: tuple[Sized, Window], side1: tuple[Sized, Window], pair: PairInput
    ) -> PairMatches:
        gray0, mask0, view0 = side0[0].window(side0[1])
        gray1, mask1, view1 = side1[0].window(side1[1])
        features0, features1 = self._runner.extract(gray0, mask0), self._runner.extract(gray1, mask1)
        found = self._runner.match([PairInput(features0, features1, view0, view1)])[0]
        inside = tile.holds(found.keypoints0.astype(np.float64) + side0[1][:2])
        for (photo, where), points in zip((side0, side1), (found.keypoints0, found.keypoints1), strict=True):
            inside &= (points + (where.x, where.y) <= np.array(photo.size) - 0.5).all(axis=1)
        keypoints0 = side0[0].to_raw(found.keypoints0[inside], side0[1])
        keypoints1 = side1[0].to_raw(found.keypoints1[inside], side1[1])
        matches = PairMatches(keypoints0, keypoints1, found.scores[inside], found.reference[inside])
        return (
            matches
            if pair.mask0 is None or pair.mask1 is None
            else matches.where(pair.mask0.passes(keypoints0) & pair.mask1.passes(keypoints1))
        )


def size_ratio(small: PairMatches, view0: PhotoGeometry, view1: PhotoGeometry) -> float:
    """Size of an object in image1 over its size in image0, both photos at full size: the median over the matches."""
    rows = small.reference == 0
    sides = []
    for view, points in ((view0, small.keypoints0), (view1, small.keypoints1)):
        upright = to_upright(points[rows], view.size, view.orientation)
        sides.append(to_matched(upright, upright_size(view.size, view.orientation), view.matched).astype(np.float64))
    local = affine_ratios(*sides)
    known = local[np.isfinite(local) & (local > 0)]
    factors = [max(view.size) / max(view.matched) for view in (view0, view1)]
    return float(np.median(known) if len(known) else 1.0) * factors[1] / factors[0]


def merged(parts: list[PairMatches], limit: int | None) -> PairMatches:
    """The rows of all tiles in a pair's order; of a cell of image1 that two tiles matched, only the better row; of each
    reference the best `limit`."""
    if not parts:
        return PairMatches.empty()
    whole = PairMatches(*(np.concatenate([getattr(part, spec.name) for part in parts]) for spec in ARRAYS))
    whole = whole.where(np.lexsort((-whole.scores, whole.reference)))
    on_grid1 = np.flatnonzero(whole.reference)
    _, first = np.unique(np.rint(4 * whole.keypoints1[on_grid1]), axis=0, return_index=True)
    keep = whole.reference == 0
    keep[on_grid1[first]] = True
    whole = whole.where(keep)
    if limit is None:
        return whole
    place = np.concatenate([np.arange((whole.reference == side).sum()) for side in (0, 1)])
    return whole.where(place < limit)
