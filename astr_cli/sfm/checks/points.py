"""Checks of keypoints and match indices alone."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.checks.report import Findings

Convention = Literal["centre", "corner"]
"""Where (0, 0) is: the centre of the top-left pixel (HDF5 files), or its corner (COLMAP)."""

FEWEST = 50  # points from which their fractions say anything
SHARE = 0.9  # of points with one and the same fraction
TOLERANCE = 1e-3  # pixels, of float32 coordinates


class Suspicion(NamedTuple):
    """Signs of wrong keypoints of an image."""

    outside: int
    """Points beyond the edges by more than half a pixel."""
    half_pixel: bool
    """Whether the points look as if they followed the other convention."""


def check_keypoints(found: Findings, name: str, keypoints: NDArray[np.generic]) -> bool:
    """Whether an array is (K, 2 or more) finite numbers; notes it when it is not."""
    if keypoints.ndim != 2 or keypoints.shape[1] < 2 or keypoints.dtype.kind not in "fiu":
        found.add("error", "bad-array", f"keypoints of {name} are {keypoints.dtype} {keypoints.shape}")
        return False
    if not np.isfinite(keypoints[:, :2]).all():
        found.add("error", "bad-array", f"keypoints of {name} are not all finite")
        return False
    return True


def judge(keypoints: NDArray[np.generic], size: tuple[int, int] | None, convention: Convention) -> Suspicion:
    """How (K, 2) keypoints lie in their image of `size` (w, h), if that is known.

    Detectors and quantised matches give whole pixels: .0 where (0, 0) is a pixel's centre, .5 where it is the corner.
    Points on a coarser grid prove nothing (the centre of an even cell lies between pixels), so both even and odd
    pixels must be among them.
    """
    points = np.asarray(keypoints[:, :2], np.float64)
    half = _whole_pixels(points - (0.5 if convention == "centre" else 0.0))
    if size is None or not len(points):
        return Suspicion(0, half)
    low = -0.5 if convention == "centre" else 0.0
    here = _beyond(points, low, size)
    there = _beyond(points, -0.5 - low, size)
    return Suspicion(int((here & there).sum()), half or bool((here & ~there).any()))


def _whole_pixels(points: NDArray[np.float64]) -> bool:
    if len(points) < FEWEST:
        return False
    whole = np.rint(points)
    even = (whole % 2 == 0).mean(0)
    return bool(
        (np.abs(points - whole) < TOLERANCE).all(1).mean() > SHARE and (even > 0.2).all() and (even < 0.8).all()
    )


def _beyond(points: NDArray[np.float64], low: float, size: tuple[int, int]) -> NDArray[np.bool_]:
    beyond: NDArray[np.bool_] = (points < low - TOLERANCE) | (points > np.asarray(size) + low + TOLERANCE)
    return np.asarray(beyond.any(1))


def report_suspicion(found: Findings, name: str, suspicion: Suspicion) -> None:
    """Notes the result of `judge` for an image."""
    if suspicion.half_pixel:
        found.add("warning", "half-pixel", name)
    if suspicion.outside:
        found.add("warning", "outside", f"{name} ({suspicion.outside} points)")


def check_indices(
    found: Findings, pair: str, matches: NDArray[np.generic], rows0: int | None, rows1: int | None
) -> None:
    """Notes indices of (M, 2) matches that point at no keypoint (rows None: of an unknown count), and repeated rows."""
    if not len(matches):
        return
    whole = matches.astype(np.int64)
    low, high = whole.min(0), whole.max(0)
    for side, rows in enumerate((rows0, rows1)):
        if low[side] < 0 or (rows is not None and high[side] >= rows):
            wrong = int(low[side]) if low[side] < 0 else int(high[side])
            found.add("error", "index-range", f"{pair}: index {wrong}, keypoints {'unknown' if rows is None else rows}")
            return
    if len(np.unique(whole, axis=0)) < len(whole):
        found.add("warning", "repeated-match", pair)
