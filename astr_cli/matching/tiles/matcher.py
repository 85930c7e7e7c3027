"""`--tiles`: a pair that was matched at small size is matched again at full size, one pair of tiles at a time.

The small matches say which part of image1 a tile of image0 shows, and how much larger or smaller. Both are taken from
the level of their photo's pyramid at which objects look equally large. Rows count only inside their tile's core.
NOTE not in the paper (docs/model.md, Around the model).
"""

from collections.abc import Iterator

import numpy as np

from astr_cli.images.info import ImageInfo
from astr_cli.images.masks import PackedMask
from astr_cli.images.upright import upright_size
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.regions.geometry import Window, size_ratio
from astr_cli.matching.regions.matching import Part, Sized, match_parts
from astr_cli.matching.regions.pyramid import Pyramids
from astr_cli.matching.regions.verification import verified
from astr_cli.matching.run.model_runner import PairInput, Runner
from astr_cli.matching.tiles.geometry import level_size, levels_for, tiles, window_around
from astr_cli.model.astr import MatchSettings
from astr_cli.store.types import ARRAYS, PairMatches

FEWEST = 6  # small matches that a tile needs


class TileMatcher:
    """Matches pairs at full size, in tiles of `side` pixels (a multiple of 32)."""

    def __init__(self, runner: Runner, settings: MatchSettings, side: int, pyramids: Pyramids) -> None:
        self._runner = runner
        self._settings = settings
        self._side = side
        self._pyramids = pyramids

    def match(self, info0: ImageInfo, info1: ImageInfo, pair: PairInput, small: PairMatches) -> PairMatches:
        """The pair's matches at full size, from those of the small pass, in raw pixels. Raises ImageError."""
        if max(*pair.view0.size, *pair.view1.size) <= self._side or len(small) < FEWEST:
            return small
        levels = levels_for(full_size_ratio(small, pair.view0, pair.view1))
        photo0 = self._sized(info0, pair.view0, pair.mask0, levels[0])
        photo1 = self._sized(info1, pair.view1, pair.mask1, levels[1])
        return merged(list(self._tiles(photo0, photo1, pair, small)), self._settings.max_matches)

    def _sized(self, info: ImageInfo, view: PhotoGeometry, packed: PackedMask | None, level: int) -> Sized:
        size = level_size(upright_size(view.size, view.orientation), level)
        return Sized(*self._pyramids.get(info, packed, view.orientation, size), view)

    def _tiles(self, photo0: Sized, photo1: Sized, pair: PairInput, small: PairMatches) -> Iterator[PairMatches]:
        points0, points1 = photo0.from_raw(small.keypoints0), photo1.from_raw(small.keypoints1)
        for tile in tiles(photo0.size, self._side):
            near = tile.holds(points0)
            if near.sum() < FEWEST:
                continue
            where0 = Window(tile.x.origin, tile.y.origin, tile.x.size, tile.y.size)
            where1 = window_around(points1[near], photo1.size, self._side)
            yield match_parts(self._runner, Part(photo0, where0), Part(photo1, where1), pair, tile.holds)


def full_size_ratio(small: PairMatches, view0: PhotoGeometry, view1: PhotoGeometry) -> float:
    """Size of an object in image1 over its size in image0, both photos at full size, from the small matches."""
    rows = small.reference == 0
    points0 = view0.from_raw(small.keypoints0[rows]).astype(np.float64)
    points1 = view1.from_raw(small.keypoints1[rows]).astype(np.float64)
    fit = verified(points0, points1)
    if fit.any():
        points0, points1 = points0[fit], points1[fit]
    factors = [max(view.size) / max(view.matched) for view in (view0, view1)]
    return size_ratio(points0, points1) * factors[1] / factors[0]


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
