"""The verified pairs of a database, as the check for repeats needs them. SQLite alone, so `astr check` may use it."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.database.pair_ids import pair_images

FEWEST = 15  # inliers; COLMAP's mapper skips pairs with fewer

Floats = NDArray[np.float64]


class VerifiedPair(NamedTuple):
    """The inliers of one pair."""

    image0: int
    image1: int
    points0: Floats
    """(M, 2) in parts of the long side of image0."""
    points1: Floats
    """(M, 2) in parts of the long side of image1."""

    def chosen(self, matches: NDArray[np.bool_] | NDArray[np.intp]) -> VerifiedPair:
        """The pair with these of its matches; matches: (M,) or their numbers."""
        return self._replace(points0=self.points0[matches], points1=self.points1[matches])


def verified_pairs(connection: sqlite3.Connection) -> list[VerifiedPair]:
    """All pairs with a geometry to map with, by number. The database has passed the other checks."""
    sizes = "SELECT image_id, MAX(width, height) FROM images JOIN cameras USING (camera_id)"
    sides = dict(connection.execute(sizes))
    keypoints = {
        image: np.frombuffer(data, "<f4").reshape(rows, -1)[:, :2].astype(np.float64)
        for image, rows, data in connection.execute("SELECT image_id, rows, data FROM keypoints WHERE rows > 0")
    }
    query = "SELECT pair_id, data FROM two_view_geometries WHERE config > 1 AND rows >= ? AND cols = 2 ORDER BY pair_id"
    found = []
    for pair, data in connection.execute(query, (FEWEST,)):
        image0, image1 = pair_images(pair)
        matches = np.frombuffer(data, "<u4").reshape(-1, 2)
        points0, points1 = keypoints[image0][matches[:, 0]], keypoints[image1][matches[:, 1]]
        found.append(VerifiedPair(image0, image1, points0 / sides[image0], points1 / sides[image1]))
    return found
