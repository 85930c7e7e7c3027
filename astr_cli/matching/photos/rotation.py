"""`--rotate auto`: the quarter turn of the second photo that makes a pair match, decided on small copies.

The decision uses the two photos alone: the other pairs of the list change nothing. NOTE not in the paper
(docs/model.md, Around the model).
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from astr_cli.images.geometry import matched_size
from astr_cli.matching.photos.loader import Photo

PROBE_SIDE = 256
SURE = 0.25  # upright matches per cell above which no other turn is tried
FEWEST = 8  # matches below which no turn is believed
CLEARLY = 1.5  # another turn has to win by this factor
NEIGHBOURS = 5  # matches nearest to a match, which it is compared with
COSINE = 0.7  # directions to a neighbour are the same within 45 degrees


class Wanted(NamedTuple):
    """A pair's request for features: a photo, rotated clockwise by quarter turns, whole or as a small copy."""

    name: str
    quarters: int = 0
    small: bool = False

    def of(self, photo: Photo) -> Photo:
        """The photo in this rotation."""
        gray = np.rot90(photo.gray, -self.quarters)
        mask = None if photo.mask is None else np.rot90(photo.mask, -self.quarters)
        if self.small:
            size = matched_size(gray.shape[1], gray.shape[0], PROBE_SIDE)
            shrunk = cv2.resize(np.ascontiguousarray(gray), size, interpolation=cv2.INTER_AREA)
            gray = np.asarray(shrunk, np.float32)
            if mask is not None:
                mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return Photo(gray, mask, photo.raw_mask)


def best_quarters(count: Callable[[int], int], cells: int) -> int:
    """The turn with the most matches that lie as their neighbours do, `count(quarters)`; 0 when it has plenty of them,
    or no other is clearly better."""
    upright = count(0)
    if upright >= SURE * cells:
        return 0
    found = {quarters: count(quarters) for quarters in (1, 2, 3)}
    best = max(found, key=lambda quarters: found[quarters])
    return best if found[best] >= max(FEWEST, CLEARLY * upright) else 0


def count_upright(points: npt.NDArray[np.float64]) -> int:
    """How many matches (2, M, 2) have most of their nearest neighbours in the same direction in both images.

    Photos that stand differently have matches too, true ones and false ones. By chance, at most a quarter of them pass.
    """
    if points.shape[1] <= NEIGHBOURS:
        return 0
    near = cKDTree(points[0]).query(points[0], NEIGHBOURS + 1)[1][:, 1:]
    first, second = (side[near] - side[:, None] for side in points)
    along = (first * second).sum(axis=2)
    same = along > COSINE * np.linalg.norm(first, axis=2) * np.linalg.norm(second, axis=2)
    return int((same.sum(axis=1) > NEIGHBOURS / 2).sum())
