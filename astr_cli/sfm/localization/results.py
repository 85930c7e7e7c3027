"""What localization writes: poses.txt as hloc does, and the model with the queries added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.files import write_whole
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.localization.correspondences import Correspondences
from astr_cli.sfm.localization.pose import Pose


class Localized(NamedTuple):
    """A query, and its pose or the reason why there is none."""

    name: str
    photos: int
    """Photos of the model with points that the query shows."""
    matches: int
    """Of pixels with points of the model."""
    inliers: int
    error: float
    """Mean distance of the inliers from their points in the image, pixels."""
    focal: float | None
    """Pixels."""
    reason: str | None
    """None: it has a pose."""


def poses_text(poses: Mapping[str, Pose]) -> str:
    """One line per query: name, rotation as a quaternion w x y z, translation; from world to camera."""
    lines = []
    for name, pose in poses.items():
        x, y, z, w = pose.cam_from_world.rotation.quat
        numbers = (w, x, y, z, *pose.cam_from_world.translation)
        lines.append(f"{name} {' '.join(repr(float(number)) for number in numbers)}\n")
    return "".join(lines)


def write_poses(path: Path, poses: Mapping[str, Pose]) -> None:
    """Writes poses.txt. Raises OSError."""
    write_whole(path, poses_text(poses))


def add_queries(model: Any, queries: Sequence[tuple[str, Pose, Correspondences]]) -> None:
    """Adds posed queries with their inliers to a pycolmap.Reconstruction, each with a camera of its own."""
    camera_id, image_id = max(model.cameras, default=0), max(model.images, default=0)
    rig_id, frame_id = max(model.rigs, default=0), max(model.frames, default=0)
    camera_id, image_id = max(camera_id, rig_id), max(image_id, frame_id)  # one number for both, as COLMAP's helpers do
    for name, pose, found in queries:
        camera_id, image_id = camera_id + 1, image_id + 1
        pose.camera.camera_id = camera_id
        model.add_camera_with_trivial_rig(pose.camera)
        rows = _once(found, pose)
        image = pycolmap.Image(name=name, keypoints=found.xy[rows] + 0.5, camera_id=camera_id, image_id=image_id)
        model.add_image_with_trivial_frame(image, pose.cam_from_world)
        for number, row in enumerate(rows):
            model.add_observation(int(found.ids[row]), pycolmap.TrackElement(image_id, number))


def _once(found: Correspondences, pose: Pose) -> list[int]:
    """The inliers, each pixel and each point once: a track sees a photo at one place."""
    pixels: set[tuple[float, float]] = set()
    points: set[int] = set()
    rows = []
    for row in np.flatnonzero(pose.inliers).tolist():
        pixel, point = (float(found.xy[row, 0]), float(found.xy[row, 1])), int(found.ids[row])
        if pixel not in pixels and point not in points:
            pixels.add(pixel)
            points.add(point)
            rows.append(row)
    return rows
