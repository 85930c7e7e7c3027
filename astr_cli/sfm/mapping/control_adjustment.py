"""A model adjusted to ground control points: a similarity, then bundle adjustment with the points held in place.

pycolmap has constant points, and no weighted ones: control points count as exact, their marks as any observation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.colmap import pycolmap, quiet
from astr_cli.sfm.mapping.colmap_mappers import adjust_alone, copied
from astr_cli.sfm.mapping.control_points import LEAST, ControlError, ControlFile, ControlPoint

FLAT = 0.02  # control points less wide than this, by their extent, are on a line
ROUND = 100.0  # metres, of the offset
STEPS = 20  # of Gauss-Newton; three do


class ControlResidual(NamedTuple):
    """A point by the model, minus its known position."""

    name: str
    checks: bool
    marks: int
    """Photos of the model where it is marked."""
    east: float | None
    """Metres; None: fewer than two marks."""
    north: float | None
    up: float | None
    pixels: float | None
    """Root mean square of the marks' distances to the known position, projected."""


class Held(NamedTuple):
    """A model with the control points among its points."""

    model: Any
    constant: tuple[int, ...]
    """The numbers of the control points."""


class Control(NamedTuple):
    """A model in the coordinate system of control points."""

    system: str
    """Such as EPSG:32632."""
    offset: tuple[float, float, float]
    """Metres: add it to the model's coordinates."""
    residuals: tuple[ControlResidual, ...]

    def rms(self, checks: bool) -> tuple[int, float, float]:
        """The number of check points, or of control points, and their root mean square in the plane and vertically."""
        used = [each for each in self.residuals if each.checks == checks and each.up is not None]
        found = np.array([[each.east, each.north, each.up] for each in used], np.float64).reshape(-1, 3)
        if not len(found):
            return 0, float("nan"), float("nan")
        squares = (found**2).mean(0)
        return len(found), float(np.sqrt(squares[:2].sum())), float(np.sqrt(squares[2]))


def control_of(record: Mapping[str, Any] | None) -> Control | None:
    """A Control from its JSON. Raises KeyError, TypeError or ValueError: it is none."""
    if record is None:
        return None
    east, north, up = record["offset"]
    residuals = tuple(ControlResidual(**each) for each in record["residuals"])
    return Control(str(record["system"]), (float(east), float(north), float(up)), residuals)


def adjust_to_control(model: Any, control: ControlFile, held: Iterable[int], hold_focals: bool) -> tuple[Control, Held]:
    """Moves and adjusts a pycolmap.Reconstruction in place; the result, and a copy of the model with the points.

    held, hold_focals: as for `adjust_alone`.

    Raises ControlError: fewer than 3 control points have two marks in the model, or they lie on a line.
    """
    offset = np.floor(np.mean([point.position for point in control.points], axis=0) / ROUND) * ROUND
    used = [point for point in control.points if not point.checks and len(_marks(model, point)) > 1]
    known = np.array([point.position for point in used], np.float64).reshape(-1, 3) - offset
    _require_enough(used, known)
    found = np.array([triangulated(model, point) for point in used])
    with quiet(errors=False):
        moved = pycolmap.estimate_sim3d(found, known)
    if moved is None:
        raise ControlError("--gcp: no similarity fits the control points; check their positions and marks")
    model.transform(moved)
    with_points = _adjust(model, used, known, held, hold_focals)
    residuals = tuple(_residual(model, point, np.array(point.position) - offset) for point in control.points)
    placed = (float(offset[0]), float(offset[1]), float(offset[2]))
    return Control(control.system.name, placed, residuals), with_points


def _require_enough(used: Sequence[ControlPoint], known: NDArray[np.float64]) -> None:
    if len(used) < LEAST:
        raise ControlError(
            f"--gcp: {len(used)} control points are marked in two photos of the model or more, and at least {LEAST} "
            "are needed; check the photos' names, and mark more"
        )
    spread = np.linalg.svd(known - known.mean(0), compute_uv=False)
    if spread[1] < FLAT * spread[0]:
        raise ControlError("--gcp: the control points lie on a line, which leaves a turn open; add one beside it")


def _marks(model: Any, point: ControlPoint) -> list[tuple[Any, NDArray[np.float64]]]:
    """The registered images with marks of a point, and the (2,) COLMAP pixels."""
    posed = {model.image(number).name: model.image(number) for number in model.reg_image_ids()}
    return [(posed[photo], np.array([x, y])) for photo, x, y in point.marks if photo in posed]


def triangulated(model: Any, point: ControlPoint) -> NDArray[np.float64]:
    """(3,) a point by its marks in two photos or more: of the least squared distances in pixels."""
    marks = _marks(model, point)
    rows, right = [], []
    for image, pixel in marks:  # of the least distance to the rays, for a start
        matrix = image.cam_from_world().matrix()
        ray = matrix[:, :3].T @ np.append(image.camera.cam_from_img(pixel[None])[0], 1.0)
        away = np.eye(3) - np.outer(ray, ray) / (ray @ ray)
        rows.append(away)
        right.append(away @ image.projection_center())
    place: NDArray[np.float64] = np.linalg.lstsq(np.vstack(rows), np.concatenate(right), rcond=None)[0]
    for _ in range(STEPS):
        step = 1e-6 * max(1.0, float(np.linalg.norm(place - marks[0][0].projection_center())))
        now = _distances(marks, place)
        slopes = np.column_stack([(_distances(marks, place + step * axis) - now) / step for axis in np.eye(3)])
        change = np.linalg.lstsq(slopes, -now, rcond=None)[0]
        place = place + change
        if np.linalg.norm(change) < step:
            break
    return place


def _distances(marks: Sequence[tuple[Any, NDArray[np.float64]]], place: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2 M,) pixels from marks to a projected place."""
    return np.concatenate(
        [image.camera.img_from_cam((image.cam_from_world() * place)[None])[0] - pixel for image, pixel in marks]
    )


def _residual(model: Any, point: ControlPoint, known: NDArray[np.float64]) -> ControlResidual:
    marks = _marks(model, point)
    pixels = float(np.sqrt(2 * (_distances(marks, known) ** 2).mean())) if marks else None
    if len(marks) < 2:
        return ControlResidual(point.name, point.checks, len(marks), None, None, None, pixels)
    east, north, up = map(float, triangulated(model, point) - known)
    return ControlResidual(point.name, point.checks, len(marks), east, north, up, pixels)


def _adjust(
    model: Any, used: Sequence[ControlPoint], known: NDArray[np.float64], held: Iterable[int], hold_focals: bool
) -> Held:
    """Bundle adjustment in place with the points held: in a copy that has them, so that the model gets none."""
    copy = copied(model)
    constant = []
    for point, place in zip(used, known, strict=True):
        track = pycolmap.Track()
        for image, pixel in _marks(copy, point):
            image.points2D.append(pycolmap.Point2D(pixel))
            track.add_element(image.image_id, image.num_points2D() - 1)
        constant.append(copy.add_point3D(place, track))
    adjust_alone(copy, held, hold_focals, constant)
    for number in model.reg_frame_ids():
        model.frame(number).rig_from_world = copy.frame(number).rig_from_world
    for number in model.cameras:
        model.camera(number).params = copy.camera(number).params
    for number in model.point3D_ids():
        model.point3D(number).xyz = copy.point3D(number).xyz
    model.update_point_3d_errors()
    return Held(copy, tuple(constant))
