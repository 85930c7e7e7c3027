"""The pose of one query by LO-RANSAC and refinement (pycolmap), with its focal length where that is unknown."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.info import ImageInfo
from astr_cli.sfm.colmap import pycolmap, quiet
from astr_cli.sfm.localization.correspondences import Correspondences
from astr_cli.store.cameras import Camera

GUESS = 1.2  # long sides: COLMAP's focal length for photos without one
LEAST_ERROR, ERROR = 4.0, 4.0  # pixels; matched pixels
WIDEST = 0.1  # a focal length that is estimated lies within this and 1 / this times the long side


class QueryCamera(NamedTuple):
    """The camera of a query, and what is known of it."""

    camera: Any  # pycolmap.Camera
    known: bool  # all of it; otherwise its focal length is refined
    focal: bool  # the focal length, roughly


class Pose(NamedTuple):
    """Where a query was taken."""

    cam_from_world: Any  # pycolmap.Rigid3d
    camera: Any  # pycolmap.Camera
    inliers: NDArray[np.bool_]  # (M,) of the correspondences
    error: float
    """Mean distance of the inliers from their points in the image, pixels."""


def query_camera(info: ImageInfo, known: Camera | None) -> QueryCamera:
    """From known cameras, else EXIF, else a guess."""
    if known is not None:
        camera = pycolmap.Camera(model=known.model, width=known.width, height=known.height, params=list(known.params))
        return QueryCamera(camera, True, True)
    focal = info.focal or GUESS * max(info.size)
    camera = pycolmap.Camera.create_from_model_name(0, "SIMPLE_RADIAL", focal, *info.size)
    camera.has_prior_focal_length = info.focal is not None
    return QueryCamera(camera, False, info.focal is not None)


def find_pose(
    found: Correspondences, points: NDArray[np.float64], given: QueryCamera, pixel: float, seed: int
) -> Pose | None:
    """The pose that most correspondences agree with; None: there is none.

    points: (M, 3) in the model's units. pixel: pixels of the query per matched pixel.
    """
    if len(found) < 4:
        return None
    camera = pycolmap.Camera(given.camera.todict())
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.estimate_focal_length = not given.focal
    estimation.ransac.max_error = max(LEAST_ERROR, ERROR * pixel)
    estimation.ransac.random_seed = seed
    refinement = pycolmap.AbsolutePoseRefinementOptions()
    refinement.refine_focal_length = not given.known
    pixels = found.xy + 0.5  # COLMAP counts from the corner
    with quiet(errors=False):
        result = pycolmap.estimate_and_refine_absolute_pose(pixels, points, camera, estimation, refinement)
    if result is None or not WIDEST < camera.mean_focal_length() / max(camera.width, camera.height) < 1 / WIDEST:
        return None
    inliers = np.asarray(result["inlier_mask"], np.bool_)
    seen = camera.img_from_cam(result["cam_from_world"] * points[inliers])
    error = float(np.linalg.norm(seen - pixels[inliers], axis=1).mean()) if inliers.any() else 0.0
    return Pose(result["cam_from_world"], camera, inliers, error)
