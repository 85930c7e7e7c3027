"""From matches between a query and photos of a model to pixels of the query and points of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astr_cli.store.types import PairMatches

NEAR = 1.0  # matched pixels between a match and an observation of the same spot


class SeenPoints(NamedTuple):
    """The points of a model in one of its photos."""

    xy: NDArray[np.float64]  # (N, 2) pixels of the photo, the centre of the top-left pixel at (0, 0)
    ids: NDArray[np.int64]  # (N,) of the points


class Correspondences(NamedTuple):
    """Pixels of a query, and the points of the model that they show."""

    xy: NDArray[np.float64]  # (M, 2) pixels, the centre of the top-left pixel at (0, 0)
    ids: NDArray[np.int64]  # (M,)
    photos: int
    """Photos of the model that these come from."""

    def __len__(self) -> int:
        return len(self.ids)


def seen_points(image: Any) -> SeenPoints:
    """Those of a pycolmap.Image, without COLMAP's half pixel."""
    seen = [(*point.xy, point.point3D_id) for point in image.points2D if point.has_point3D()]
    table = np.array(seen, np.float64).reshape(-1, 3)
    return SeenPoints(table[:, :2] - 0.5, np.array([each[2] for each in seen], np.int64))


def correspondences(found: Sequence[tuple[PairMatches, SeenPoints, float]]) -> Correspondences:
    """Of one query. found: for each photo, matches with the query as image0, its points, and its pixels per matched
    pixel. A match belongs to the nearest point within `NEAR`; a pixel and a point are paired once.
    """
    parts, photos = [], 0
    for matches, seen, pixel in found:
        if not len(seen.ids) or not len(matches):
            continue
        distance, nearest = cKDTree(seen.xy).query(matches.keypoints1, distance_upper_bound=NEAR * pixel)
        rows = np.flatnonzero(np.isfinite(distance))
        photos += bool(len(rows))
        parts.append((matches.keypoints0[rows].astype(np.float64), seen.ids[nearest[rows]]))
    if not parts:
        return Correspondences(np.zeros((0, 2)), np.zeros(0, np.int64), 0)
    xy, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    _, first = np.unique(np.column_stack([xy, ids]), axis=0, return_index=True)
    first.sort()
    return Correspondences(xy[first], ids[first], photos)
