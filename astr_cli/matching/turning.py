"""`--rotate auto`: which quarter turn of the second photo makes a pair match, found out on small copies.

A pair is decided by its own two photos: what else is in the list changes nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from astr_cli.images import working_size
from astr_cli.matching.loader import Photo

PROBE_SIDE = 256
SURE = 0.15  # matches of the upright pair, over cells: so many, and no other turn is tried
FEWEST = 8  # matches below which no turn is believed
CLEARLY = 1.5  # another turn has to win by this factor


class Wanted(NamedTuple):
    """Features that a pair needs: of a photo, turned clockwise by quarters, whole or of a small copy."""

    name: str
    quarters: int = 0
    small: bool = False

    def key(self) -> str:
        """What they are called in the cache: the photo's name when nothing is done to it."""
        return f"{self.quarters}{'s' if self.small else ''}\0{self.name}" if self.quarters or self.small else self.name

    def of(self, photo: Photo) -> Photo:
        """The photo as wanted."""
        gray = np.rot90(photo.gray, -self.quarters)
        mask = None if photo.mask is None else np.rot90(photo.mask, -self.quarters)
        if self.small:
            size = working_size(gray.shape[1], gray.shape[0], PROBE_SIDE)
            shrunk = cv2.resize(np.ascontiguousarray(gray), size, interpolation=cv2.INTER_AREA)
            gray = np.asarray(shrunk, np.float32)
            if mask is not None:
                mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return Photo(gray, mask, photo.raw_mask)


def best_quarters(count: Callable[[int], int], cells: int) -> int:
    """The turn with the most matches, `count(quarters)`; 0 when it has plenty, or no other is clearly better."""
    upright = count(0)
    if upright >= SURE * cells:
        return 0
    found = {quarters: count(quarters) for quarters in (1, 2, 3)}
    best = max(found, key=lambda quarters: found[quarters])
    return best if found[best] >= max(FEWEST, CLEARLY * upright) else 0
