"""Which matches of a second look (`--focus auto`) make tracks.

Whole photos have a cell every 8 matched pixels, and the matches of all pairs of a photo meet on these cells. A look at
an enlarged part has a cell every 4 or 2 pixels. Those between the cells of the whole photo are met by no other pair:
they make points that two photos see. So a pair gives its matches on the cells of the whole photo, and others only if
these are few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astr_cli.store.types import CELL, PairMatches

ENOUGH = 200  # rows, two per match, that carry a pair through the mapping
HALVINGS = 2  # of a cell, at most
TOLERANCE = 0.25  # matched pixels; the finest cells are 2 apart


def on_the_grid(matches: PairMatches, scale0: NDArray[np.float64], scale1: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(M,) which matches to take: on the coarsest cells that have enough of them, all if none have.

    scale0, scale1: (2,) matched pixels per pixel of each photo.
    """
    needed = halvings(matches, scale0, scale1)
    for most in range(HALVINGS):
        taken = needed <= most
        if int(taken.sum()) >= ENOUGH:
            return taken
    return np.ones(len(matches), np.bool_)


def halvings(matches: PairMatches, scale0: NDArray[np.float64], scale1: NDArray[np.float64]) -> NDArray[np.int64]:
    """(M,) how often the cells of the whole photo have to be halved until the reference is the centre of one."""
    first = (matches.reference == 0)[:, None]
    reference = np.where(first, matches.keypoints0, matches.keypoints1).astype(np.float64)
    corner = (reference + 0.5) * np.where(first, scale0, scale1)
    needed = np.full(len(matches), HALVINGS, np.int64)
    for count in reversed(range(HALVINGS)):
        cell = CELL / 2**count
        steps = (corner - CELL / 2) / cell  # all sizes have a centre on that of the photo's first cell
        needed[(np.abs(steps - np.rint(steps)) * cell <= TOLERANCE).all(axis=1)] = count
    return needed
