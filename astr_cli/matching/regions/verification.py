"""Which matches agree on one epipolar geometry."""

import cv2
import numpy as np
import numpy.typing as npt

from astr_cli.matching.regions.geometry import Points

PIXELS = 3.0  # of the matched parts: matches are off by a pixel or two there
FEWEST = 8  # matches that agree; a fundamental matrix fits any seven
CONFIDENCE, ITERATIONS = 0.999, 2000


def verified(points0: Points, points1: Points) -> npt.NDArray[np.bool_]:
    """Which matches (M, 2) and (M, 2), in pixels of the parts that were matched, fit the best fundamental matrix; none
    of them if fewer than `FEWEST` do.

    The order of the rows changes nothing: it would decide what MAGSAC draws.
    """
    fit = np.zeros(len(points0), np.bool_)
    if len(points0) < FEWEST:
        return fit
    order = np.lexsort((points0[:, 0], points0[:, 1]))
    try:
        found, mask = cv2.findFundamentalMat(
            points0[order], points1[order], cv2.USAC_MAGSAC, PIXELS, CONFIDENCE, ITERATIONS
        )
    except cv2.error:  # degenerate points
        return fit
    if found is not None and mask is not None and mask.sum() >= FEWEST:
        fit[order] = mask[:, 0] > 0
    return fit
