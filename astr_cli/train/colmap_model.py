"""Photos of a COLMAP model as training pairs: the depth is known at the model's points, and nowhere else.

A model is a folder with images/ and sparse/ (or sparse/0) and pinhole cameras, as `astr export --format undistorted`
writes it. Only points that are certain count. A point gives its depth to the pixels around it, which on a slope are off
by a fraction of a cell: exact enough for the coarse matrices, but not for the fine stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch

from astr_cli.errors import AstrError
from astr_cli.images.decode import read_gray
from astr_cli.scenes.geometry import ScenePair
from astr_cli.train.frames import Array, Frame, RecordedSet, cropped, trusted_inverse
from astr_cli.wording import counted

LEAST_TRACK = 3  # photos that see a point
LARGEST_ERROR = 1e-3  # reprojection error of a point, as a share of the photo's long side
SMALLEST_ANGLE = 3.0  # degrees between the rays of a point
SHARED = 15  # fewest certain points that two photos of a pair share; COLMAP's fewest inliers of a pair
REACH = 0.012  # of the long side; pixels so near to a point have its depth: about the size of a cell


class Photo(NamedTuple):
    """A photo of the model and the certain points in it; the centre of the top-left pixel is at (0, 0)."""

    file: Path
    size: tuple[int, int]  # width, height
    intrinsics: Array  # (3, 3)
    pose: Array  # (4, 4) camera to world
    places: Array  # (M, 2) pixels of the points
    depths: Array  # (M,) z-depths of the points, in the unit of the model
    numbers: npt.NDArray[np.int64]  # (M,) of the points, rising


@dataclass(frozen=True)
class ModelSet(RecordedSet):
    """All models below a folder; photos are read when they are drawn."""

    pairs: tuple[tuple[Photo, Photo], ...]

    def pair(self, side: int, generator: torch.Generator, difficulty: float) -> ScenePair:
        """One pair, without the batch dimension. Raises AstrError if a photo cannot be read."""
        first, second = self.pairs[int(torch.randint(len(self.pairs), (1,), generator=generator))]
        if torch.rand(1, generator=generator) < 0.5:
            first, second = second, first
        return cropped(_frame(first), _frame(second), side, generator, difficulty)


def load_models(root: Path) -> ModelSet:
    """All models in `root` and below. Raises AstrError: none, one without pinhole cameras, no photo, or no pair."""
    folders = [path for path in (root, *sorted(root.rglob("*"))) if (path / "images").is_dir()]
    sparse = [(folder, model) for folder in folders if (model := _sparse(folder)) is not None]
    if not sparse:
        raise AstrError(
            f"{root}: contains no folder with images/ and sparse/; make it with astr export MODEL --format undistorted"
        )
    pairs = [pair for folder, model in sparse for pair in certain_pairs(load_photos_of_model(model, folder / "images"))]
    if not pairs:
        raise AstrError(f"{root}: no two photos share {SHARED} certain points; train on other photos")
    return ModelSet(tuple(pairs))


def certain_pairs(photos: list[Photo]) -> list[tuple[Photo, Photo]]:
    """The pairs that share enough certain points."""
    return [
        (first, second)
        for first, second in combinations(photos, 2)
        if len(np.intersect1d(first.numbers, second.numbers, assume_unique=True)) >= SHARED
    ]


def load_photos_of_model(model: Path, images: Path) -> list[Photo]:
    """The registered photos of a model with their certain points, by name. Raises AstrError."""
    from astr_cli.sfm.colmap import pycolmap, read_model  # the trainer runs where pycolmap is missing

    found: Any = read_model(model)
    distorted = sorted({camera.model.name for camera in found.cameras.values() if not camera.is_undistorted()})
    if distorted:
        raise AstrError(
            f"{model}: has {counted(len(distorted), 'camera model')} with distortion ({', '.join(distorted)}); make it "
            "with astr export MODEL --format undistorted"
        )
    longest = float(np.median([max(camera.width, camera.height) for camera in found.cameras.values()]))
    pycolmap.ObservationManager(found).filter_all_points3D(LARGEST_ERROR * longest, SMALLEST_ANGLE)
    registered = [found.image(number) for number in found.reg_image_ids()]
    return [_photo(found, image, images) for image in sorted(registered, key=lambda image: image.name)]


def _photo(model: Any, image: Any, images: Path) -> Photo:
    file = images / image.name
    if not file.is_file():
        raise AstrError(f"{file}: no such photo, but the model has it")
    seen = [point for point in image.points2D if point.has_point3D()]
    seen = [point for point in seen if model.point3D(point.point3D_id).track.length() >= LEAST_TRACK]
    numbers = np.array([point.point3D_id for point in seen], np.int64)
    numbers, first = np.unique(numbers, return_index=True)
    places = np.array([point.xy for point in seen], np.float64).reshape(-1, 2)[first]
    world = np.array([model.point3D(number).xyz for number in numbers]).reshape(-1, 3)
    to_camera = np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]])
    depths = world @ to_camera[2, :3] + to_camera[2, 3]
    camera = image.camera
    intrinsics = camera.calibration_matrix() - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    size = (camera.width, camera.height)
    return Photo(file, size, intrinsics, np.linalg.inv(to_camera), places - 0.5, depths, numbers)


def _sparse(folder: Path) -> Path | None:
    """The model beside images/: sparse/0, or sparse itself."""
    for path in (folder / "sparse" / "0", folder / "sparse"):
        if any((path / f"cameras.{ending}").is_file() for ending in ("bin", "txt")):
            return path
    return None


def _frame(photo: Photo) -> Frame:
    image = read_gray(photo.file)
    if image.shape[::-1] != photo.size:
        width, height = photo.size
        raise AstrError(f"{photo.file}: is not {width}x{height}, as the model has it; export the model again")
    return Frame(image, trusted_inverse(spread(photo)), photo.intrinsics, photo.pose)


def spread(photo: Photo) -> npt.NDArray[np.float32]:
    """z-depth (h, w): each pixel has the depth of the nearest point within REACH; 0 = unknown."""
    width, height = photo.size
    columns, rows = np.rint(photo.places).astype(int).T
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height) & (photo.depths > 0)
    if not inside.any():
        return np.zeros((height, width), np.float32)
    empty = np.ones((height, width), np.uint8)
    empty[rows[inside], columns[inside]] = 0
    apart, labels = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    depths = np.zeros(int(labels.max()) + 1, np.float32)
    depths[labels[rows[inside], columns[inside]]] = photo.depths[inside]
    return np.where(apart <= REACH * max(photo.size), depths[labels], np.float32(0)).astype(np.float32)
