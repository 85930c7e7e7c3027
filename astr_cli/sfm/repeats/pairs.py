"""The verified pairs of a database, as the check for repeats needs them. SQLite alone, so `astr check` may use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.repeats.poses import RelativePose, relative_pose
from astr_cli.store.camera_models import MODELS, Camera

PAIR_BASE = 2147483647  # pair_id = lower image id * this + higher image id
FEWEST = 15  # inliers; COLMAP's mapper skips pairs with fewer
CALIBRATED = 2  # COLMAP's kind of a geometry; the essential matrices of other kinds fit few of their matches
MODEL_NAMES = {model.number: name for name, model in MODELS.items()}

Floats = NDArray[np.float64]


class VerifiedPair(NamedTuple):
    """The inliers of one pair, and where its second camera stands."""

    image0: int
    image1: int
    points0: Floats
    """(M, 2) in parts of the long side of image0."""
    points1: Floats
    """(M, 2) in parts of the long side of image1."""
    pose: RelativePose | None
    """None: the database has no essential matrix, or it does not tell."""


def verified_pairs(connection: sqlite3.Connection) -> list[VerifiedPair]:
    """All pairs with a geometry to map with, by number. The database has passed the other checks."""
    cameras = dict(_cameras(connection))
    keypoints = {
        image: np.frombuffer(data, "<f4").reshape(rows, -1)[:, :2].astype(np.float64)
        for image, rows, data in connection.execute("SELECT image_id, rows, data FROM keypoints WHERE rows > 0")
    }
    query = (
        "SELECT pair_id, data, config, E FROM two_view_geometries WHERE config > 1 AND rows >= ? AND cols = 2 "
        "ORDER BY pair_id"
    )
    found = []
    for pair, data, config, essential in connection.execute(query, (FEWEST,)):
        ends = divmod(pair, PAIR_BASE)
        matches = np.frombuffer(data, "<u4").reshape(-1, 2)
        points = [keypoints[image][matches[:, side]] for side, image in enumerate(ends)]
        sides = [max(cameras[image].width, cameras[image].height) for image in ends]
        pose = _pose(essential if config == CALIBRATED else None, points, [cameras[image] for image in ends])
        found.append(VerifiedPair(ends[0], ends[1], points[0] / sides[0], points[1] / sides[1], pose))
    return found


def _cameras(connection: sqlite3.Connection) -> Iterator[tuple[int, Camera]]:
    """The camera of each image."""
    query = "SELECT image_id, model, width, height, params FROM images JOIN cameras USING (camera_id)"
    for image, model, width, height, params in connection.execute(query):
        yield image, Camera(MODEL_NAMES[model], width, height, tuple(np.frombuffer(params, "<f8")))


def _pose(essential: bytes | None, points: list[Floats], cameras: list[Camera]) -> RelativePose | None:
    matrices = [camera.matrix() for camera in cameras]
    if essential is None or matrices[0] is None or matrices[1] is None:
        return None
    rays = []
    for matrix, ends in zip(matrices, points, strict=True):
        rays.append((ends - 0.5 - matrix[:2, 2]) / matrix[[0, 1], [0, 1]])  # type: ignore[index]
    return relative_pose(np.frombuffer(essential, "<f8").reshape(3, 3), rays[0], rays[1])
