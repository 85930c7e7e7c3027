"""What a page shows of a COLMAP model: cameras, a sample of its points, and what each photo sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.sfm.colmap import read_model
from astr_cli.wording import first_line

MOST_POINTS = 60_000  # drawn
MOST_ANGLES = 20_000  # points whose angle is measured
MOST_RAYS = 40  # of one point
FRUSTUM = 0.4  # depth of a drawn camera, of the median distance to the nearest other one

Floats = NDArray[np.float64]


class Sight(NamedTuple):
    """The points of the model that one photo sees, in its raw pixels as COLMAP counts them."""

    places: Floats
    """(K, 2)."""
    lengths: NDArray[np.int64]
    """(K,) photos that see the point."""
    errors: Floats
    """(K,) mean reprojection error of the point, pixels; NaN: unknown."""


class PosedPhoto(NamedTuple):
    """One registered photo."""

    name: str
    number: int
    """In COLMAP."""
    camera: int
    size: tuple[int, int]
    focal: float
    centre: Floats
    """(3,)."""
    corners: Floats
    """(4, 3) where the rays of the photo's corners pass the drawn depth."""
    sight: Sight


@dataclass(frozen=True, eq=False)
class ModelView:
    """A model, turned so that z points up. Units are the model's."""

    photos: tuple[PosedPhoto, ...]
    points: NDArray[np.float32]
    """(K, 3), a sample of all."""
    colours: NDArray[np.uint8]
    """(K, 3) RGB."""
    lengths: NDArray[np.int64]
    """(K,) track lengths of the sample."""
    errors: NDArray[np.float32]
    """(K,) mean reprojection errors of the sample, pixels; NaN: unknown."""
    angles: Floats
    """(A,) the largest angle between two rays of a point, in degrees, of a sample."""
    all_lengths: NDArray[np.int64]
    """(N,) of all points."""
    all_errors: Floats
    """(N,) of all points; NaN: unknown."""
    box: Floats
    """(2, 3) the smallest and largest coordinates of the cameras and of most points."""
    turn: Floats
    """(3, 3) from the model's coordinates to these."""


class _Points(NamedTuple):
    """All points of a model, by rising number."""

    numbers: NDArray[np.int64]
    places: Floats
    colours: NDArray[np.uint8]
    errors: Floats
    lengths: NDArray[np.int64]


def view_model(folder: Path, georeferenced: bool) -> ModelView:
    """Reads a COLMAP model. georeferenced: whether its z points up already.

    Raises AstrError: the folder holds no readable model.
    """
    try:
        model = read_model(folder)
    except Exception as error:  # pycolmap's own, of many kinds
        raise AstrError(f"{folder}: not a readable COLMAP model ({first_line(error)})") from None
    points = _read_points(model)
    images = [model.image(number) for number in sorted(model.reg_image_ids())]
    images.sort(key=lambda image: str(image.name))
    turn = np.eye(3) if georeferenced else _upwards(images)
    centres = np.array([image.projection_center() for image in images], np.float64).reshape(-1, 3)
    depth = FRUSTUM * _spacing(centres)
    photos = tuple(_posed(image, points, depth, turn) for image in images)
    shown = _sample(len(points.numbers), MOST_POINTS)
    places = points.places @ turn.T
    return ModelView(
        photos=photos,
        points=places[shown].astype(np.float32),
        colours=points.colours[shown],
        lengths=points.lengths[shown],
        errors=points.errors[shown].astype(np.float32),
        angles=_angles(model, points, dict(zip((image.image_id for image in images), centres, strict=True))),
        all_lengths=points.lengths,
        all_errors=points.errors,
        box=_box(places, [place for photo in photos for place in (photo.centre, *photo.corners)]),
        turn=turn,
    )


def _sample(count: int, most: int) -> NDArray[np.int64]:
    """Numbers below `count`, evenly spread, at most `most`."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _read_points(model: Any) -> _Points:
    found = sorted(model.points3D.items())
    errors = np.array([point.error for _, point in found], np.float64)
    return _Points(
        np.array([number for number, _ in found], np.int64),
        np.array([point.xyz for _, point in found], np.float64).reshape(-1, 3),
        np.array([point.color for _, point in found], np.uint8).reshape(-1, 3),
        np.where(errors < 0, np.nan, errors),
        np.array([len(point.track.elements) for _, point in found], np.int64),
    )


def _posed(image: Any, points: _Points, depth: float, turn: Floats) -> PosedPhoto:
    camera = image.camera
    width, height = int(camera.width), int(camera.height)
    ends = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    rays = np.asarray(camera.cam_from_img(ends), np.float64)
    pose = np.asarray(image.cam_from_world().inverse().matrix(), np.float64)
    corners = np.column_stack([rays, np.ones(4)]) * depth @ pose[:, :3].T + pose[:, 3]
    return PosedPhoto(
        name=str(image.name),
        number=int(image.image_id),
        camera=int(image.camera_id),
        size=(width, height),
        focal=float(camera.mean_focal_length()) if len(camera.focal_length_idxs()) else float("nan"),
        centre=turn @ pose[:, 3],
        corners=corners @ turn.T,
        sight=_sight(image, points),
    )


def _sight(image: Any, points: _Points) -> Sight:
    seen = image.get_observation_points2D()
    rows = np.searchsorted(points.numbers, np.array([point.point3D_id for point in seen], np.int64))
    places = np.array([point.xy for point in seen], np.float64).reshape(-1, 2)
    return Sight(places, points.lengths[rows], points.errors[rows])


def _spacing(centres: Floats) -> float:
    """The median distance from a camera to the nearest other one; 1 for a single camera."""
    if len(centres) < 2:
        return 1.0
    some = centres[_sample(len(centres), 200)]
    distances = np.linalg.norm(some[:, None] - centres[None], axis=2)
    nearest = np.where(distances > 0, distances, np.inf).min(1)
    return float(np.median(nearest[np.isfinite(nearest)])) if np.isfinite(nearest).any() else 1.0


def _upwards(images: Sequence[Any]) -> Floats:
    """(3, 3) the rotation after which z points to where most photos have their upper edge."""
    downs = [np.asarray(image.cam_from_world().rotation.matrix(), np.float64)[1] for image in images]
    up = -np.sum(downs, axis=0) if downs else np.array([0.0, 0.0, 1.0])
    up = up / max(float(np.linalg.norm(up)), 1e-12)
    side = np.cross(up, np.eye(3)[int(np.argmin(np.abs(up)))])
    side /= np.linalg.norm(side)
    return np.array([side, np.cross(up, side), up])


def _box(points: Floats, cameras: Sequence[Floats]) -> Floats:
    """A few points far away would make the rest tiny: the box holds all cameras and 96% of the points per axis."""
    parts = [np.array(cameras)] if cameras else []
    if len(points):
        low, high = np.percentile(points, (2, 98), axis=0)
        parts.append(np.array([low - 0.1 * (high - low), high + 0.1 * (high - low)]))
    every = np.concatenate(parts) if parts else np.array([[-1.0] * 3, [1.0] * 3])
    low, high = every.min(0), every.max(0)
    margin = 0.05 * max(float((high - low).max()), 1e-6)
    return np.array([low - margin, high + margin])


def _angles(model: Any, points: _Points, centres: dict[int, Floats]) -> Floats:
    """Of a sample of the points: the largest angle between two of its rays, degrees."""
    found = []
    for row in _sample(len(points.numbers), MOST_ANGLES):
        elements = model.point3D(int(points.numbers[row])).track.elements[:MOST_RAYS]
        ends = [centres[element.image_id] for element in elements if element.image_id in centres]
        rays = np.array(ends).reshape(-1, 3) - points.places[row]
        rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
        found.append(float((rays @ rays.T).min()) if len(rays) > 1 else 1.0)
    return np.degrees(np.arccos(np.clip(found, -1, 1)))
