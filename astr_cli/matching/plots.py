"""Drawings of the pairs of a matches.h5, coloured by score, to judge matches without ground truth."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.decode import read_gray
from astr_cli.images.drawing import DrawingFolder, Drawn, draw_matches
from astr_cli.images.errors import ImageError
from astr_cli.images.geometry import matched_size, to_matched
from astr_cli.images.info import read_info
from astr_cli.images.upright import to_upright, turn_pixels, upright_size
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches, StoredPair

MOST = 100  # pairs
LONG_SIDE = 640  # pixels of a drawn photo
LONGEST = 30  # letters of a name
HELD = 64  # small photos, as one has many pairs


class Drawings(NamedTuple):
    """The result of `draw_pairs`."""

    drawn: int
    pairs: int  # in the file
    unreadable: int  # pairs whose photos could not be read


def draw_pairs(matches: Path, images: Path, target: DrawingFolder) -> Drawings:
    """Draws every pair of a matches.h5, or MOST evenly spaced ones, photos standing upright by their EXIF orientation.

    Raises StoreError, and AstrError when a drawing cannot be written; skips pairs whose photos are missing.
    """

    @lru_cache(HELD)
    def photo(name: str) -> SmallPhoto:
        return SmallPhoto.read(images, name)

    unreadable = 0
    with MatchesFile(matches) as file:
        pairs = file.pairs()
        rows = np.linspace(0, len(pairs) - 1, min(MOST, len(pairs))).round().astype(int)
        for row in rows.tolist():
            pair = pairs[row]
            try:
                sides = photo(pair.name0), photo(pair.name1)
            except ImageError:
                unreadable += 1
                continue
            canvas = _draw(pair, file.read(pair.name0, pair.name1), *sides)
            target.write(canvas, pair.name0, pair.name1)
    return Drawings(len(rows) - unreadable, len(pairs), unreadable)


class SmallPhoto(NamedTuple):
    """A small upright photo."""

    gray: NDArray[np.uint8]
    orientation: int

    @staticmethod
    def read(images: Path, name: str) -> "SmallPhoto":
        import cv2

        info = read_info(images, name)
        upright = turn_pixels(read_gray(info.path), info.orientation)
        size = matched_size(upright.shape[1], upright.shape[0], LONG_SIDE)
        small = cv2.resize(np.ascontiguousarray(upright), size, interpolation=cv2.INTER_AREA)
        return SmallPhoto(np.asarray(small, np.uint8), info.orientation)

    def with_points(self, points: NDArray[np.float32], size: tuple[int, int]) -> Drawn:
        """Points (M, 2) of the raw photo of this size (w, h)."""
        upright = to_upright(points, size, self.orientation)
        shape = self.gray.shape
        return Drawn(self.gray, to_matched(upright, upright_size(size, self.orientation), (shape[1], shape[0])))


def _draw(pair: StoredPair, matches: PairMatches, photo0: SmallPhoto, photo1: SmallPhoto) -> NDArray[np.uint8]:
    first = photo0.with_points(matches.keypoints0, pair.size0)
    second = photo1.with_points(matches.keypoints1, pair.size1)
    median = f", median score {np.median(matches.scores):.2f}" if len(matches) else ""
    if matches.sigma is not None and np.isfinite(matches.sigma).any():
        known = matches.sigma[np.isfinite(matches.sigma)]
        median += f", {len(known)} refined to {np.median(known):.2f} px"
    # Sure matches last: nothing hides them.
    order = np.argsort(matches.scores, kind="stable")
    text = f"{photo_title(pair.name0, pair.name1)}: {len(matches)} matches{median}"
    return draw_matches(first, second, confidence_colours(matches.scores), order, text)


def photo_title(name0: str, name1: str) -> str:
    """Both names, shortened, in letters that OpenCV can draw."""
    short = [name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}" for name in (name0, name1)]
    return " - ".join(name.encode("ascii", "replace").decode() for name in short)


def confidence_colours(scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(M, 3) BGR from scores (M,): red at 0, yellow at 0.5, green at 1."""
    sure = np.clip(scores, 0, 1)
    green, red = 255 * np.clip(2 * sure, 0, 1), 255 * np.clip(2 - 2 * sure, 0, 1)
    return np.round(np.stack((np.zeros_like(red), green, red), axis=1)).astype(np.uint8)
