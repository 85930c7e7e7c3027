"""`--refine-matches`: the moving end of every match, aligned to its fixed end on the original pixels.

The fixed end stays the centre of its grid cell, so tracks are built of refined rows as of others.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from astr_cli.images.decode import read_gray
from astr_cli.images.info import ImageInfo
from astr_cli.images.masks import PackedMask
from astr_cli.images.upright import upright_size
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.resources.shared_cache import SharedCache
from astr_cli.matching.run.model_runner import PairInput
from astr_cli.refine.pairs import Matches, refine_pair
from astr_cli.refine.pyramid import Pyramid, build_pyramid
from astr_cli.refine.settings import Settings, Status
from astr_cli.store.types import PairMatches


class MatchRefiner:
    """Refines the matches of pairs of photos on disk."""

    def __init__(
        self,
        tiles: bool,
        settings: Settings | None = None,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """tiles: matches come from photos at full size. timed: entered around each pair."""
        self._tiles = tiles
        self._timed = timed
        self._settings = settings or Settings()
        self._pyramids: SharedCache[str, Pyramid] = SharedCache(_bytes)

    def refine(self, info0: ImageInfo, info1: ImageInfo, pair: PairInput, matches: PairMatches) -> PairMatches:
        """The same matches with their moving ends refined where the pixels agree. Raises ImageError."""
        with self._timed():
            photos = self._pyramid(info0, pair.mask0), self._pyramid(info1, pair.mask1)
            pixels = (1.0, 1.0) if self._tiles else (matched_pixel(pair.view0), matched_pixel(pair.view1))
            return refined(matches, photos, pixels, self._settings)

    def _pyramid(self, info: ImageInfo, mask: PackedMask | None) -> Pyramid:
        def make() -> Pyramid:
            return build_pyramid(read_gray(info.path), None if mask is None else mask.unpacked())

        return self._pyramids.get(info.name, make)


def refined(
    matches: PairMatches, photos: tuple[Pyramid, Pyramid], pixels: tuple[float, float], settings: Settings
) -> PairMatches:
    """`matches` with moving ends aligned and `sigma` known; rows that cannot be aligned stay as they are.

    pixels: photo pixels per matched pixel of both photos.
    """
    count = len(matches)
    if not count:
        return replace(matches, sigma=np.zeros(0, np.float32))
    scale0, scale1 = (np.full(count, each) for each in pixels)
    ends = matches.keypoints0.astype(np.float64), matches.keypoints1.astype(np.float64)
    found = refine_pair(Matches(*ends, matches.reference, scale0, scale1), photos, settings)
    good = found.status == Status.REFINED
    return replace(
        matches,
        keypoints0=_moved(matches.keypoints0, found.xy, good & (matches.reference == 1)),
        keypoints1=_moved(matches.keypoints1, found.xy, good & (matches.reference == 0)),
        sigma=np.where(good, found.sigma, np.nan).astype(np.float32),
    )


def matched_pixel(view: PhotoGeometry) -> float:
    """Photo pixels per matched pixel, the mean of both axes."""
    return float(np.mean(np.divide(upright_size(view.size, view.orientation), view.matched)))


def _moved(
    points: npt.NDArray[np.float32], to: npt.NDArray[np.float64], rows: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    return np.where(rows[:, None], to, points).astype(np.float32)


def _bytes(pyramid: Pyramid) -> int:
    return sum(level.nbytes for level in pyramid.levels)
