"""The position of a model on the earth: from arbitrary units to metres, by the photos' GPS positions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.gimbal import view_direction
from astr_cli.images.gps import is_place
from astr_cli.sfm.colmap import open_database, pycolmap
from astr_cli.sfm.mapping.coordinates import Grid, utm_grid

FEWEST = 3  # photos with a place; fewer leave a turn open
MAX_ERROR = 10.0  # metres; a phone's GPS is good to 5 or so
NARROW = 0.05  # places less wide than this, by their length, lie on a line
SIDEWAYS = 2.0  # the same for places less wide than this many of their own errors
ACROSS = 0.3  # views with a part this long across the line fix the rotation about it
MAX_ANGLE = 15.0  # degrees between views by the gimbal and by the model, in the median
UNKNOWNS = 7  # of a similarity
CARTESIAN = "CARTESIAN"


class Georeference(NamedTuple):
    """A model in metres: x east, y north, z up of its origin, if `upright`."""

    latitude: float
    """Of the origin, WGS84 degrees; with positions that were metres already, 0."""
    longitude: float
    altitude: float
    """Metres."""
    photos: int
    """With a known place."""
    within: int
    """Images within 10 m of their place."""
    median_error: float
    """Metres, of these."""
    on_a_line: bool
    """Whether the places lie on a line: then they do not fix the rotation about it."""
    upright: bool = True
    """Whether the drone's gimbal gives that rotation; if not, the model's heights are wrong."""
    level: bool = False
    """Whether no photo has an altitude, so that astr took all places to be at one height: the origin's is unknown."""
    east: float = 0.0
    """Root mean square of the residuals, metres, of the images within 10 m."""
    north: float = 0.0
    up: float = 0.0
    inside: bool = False
    """Whether the places took part in the adjustment."""
    scale_error: float = 0.0
    """Standard deviation of the scale, as a share of it, by these residuals."""
    grid: Grid | None = None
    """The system whose axes and scale the model has, reduced by an offset; None: the plane that touches the earth."""


def georeference(model: Any, database: Path, images: Path) -> Georeference | None:
    """Moves a pycolmap.Reconstruction, in place, to the pose priors of its images in the database it came from.

    images: the folder of the photos, for the gimbal's angles where the places leave the turn about a line open.

    None, and the model as it was, where fewer than 3 registered images have a place or most of them contradict it.
    """
    places = _places(model, database)
    if places is None:
        return None
    found = _moved(model, places, places.middle())
    if found is None:
        return None
    # Nothing is counted from a place that contradicts the model.
    origin = found.first_near
    if not places.metric and origin is not None and origin != found.origin:
        found = _moved(model, places, origin) or found
    metres, errors = found.metres, found.errors
    near = errors <= MAX_ERROR
    right = metres[near] if near.any() else metres
    axis = _line(right, float(np.median(errors)))
    turned = axis is not None and _turn(model, axis, right.mean(0), images)
    residuals = _residuals(model, places.names, metres)
    errors = np.linalg.norm(residuals, axis=1)
    near = errors <= MAX_ERROR
    east, north, up = np.sqrt((residuals[near] ** 2).mean(0)) if near.any() else np.full(3, np.nan)
    return Georeference(
        latitude=0.0 if places.metric else float(places.positions[found.origin, 0]),
        longitude=0.0 if places.metric else float(places.positions[found.origin, 1]),
        altitude=0.0 if places.metric else float(places.positions[found.origin, 2]),
        photos=len(errors),
        within=int(near.sum()),
        median_error=float(np.median(errors[near])) if near.any() else float("nan"),
        on_a_line=axis is not None,
        upright=axis is None or turned,
        level=places.level,
        east=float(east),
        north=float(north),
        up=float(up),
        scale_error=_scale_error(metres[near], residuals[near]),
    )


def to_grid(model: Any, place: Georeference) -> Georeference:
    """Turns and scales a pycolmap.Reconstruction, in place, from the plane at its origin to UTM reduced by the origin.

    The model and the place stay as they were where pyproj is missing, or z is not the height.
    """
    metric = not is_place(place.latitude, place.longitude)
    grid = None if metric or not place.upright else utm_grid(place.latitude, place.longitude, place.altitude)
    if grid is None:
        return place
    turn = pycolmap.Rotation3d(np.array([0.0, 0.0, np.radians(grid.turn)]))
    model.transform(pycolmap.Sim3d(grid.scale, turn, np.zeros(3)))
    return place._replace(grid=grid)


def georeference_of(record: Mapping[str, Any] | None) -> Georeference | None:
    """A Georeference from its JSON. Raises KeyError, TypeError or ValueError: it is none."""
    if record is None:
        return None
    grid = record["grid"]
    made = None if grid is None else Grid(**{**grid, "offset": tuple(grid["offset"])})
    return Georeference(**{**record, "grid": made})


class _Places(NamedTuple):
    """The known places of registered images."""

    names: list[str]
    positions: NDArray[np.float64]
    """(M, 3) latitude, longitude (degrees) and altitude (metres); or metres, if `metric`."""
    metric: bool
    level: bool
    """Whether no altitude is known; then all are 0."""

    def middle(self) -> int:
        """The place nearest to the median of all, which a few wrong ones do not move."""
        away = self.positions - np.median(self.positions, axis=0)
        return int(np.argmin((away[:, :2] ** 2).sum(1)))

    def metres(self, origin: int) -> NDArray[np.float64]:
        """(M, 3) metres east, north and up of one of the places; those of metric places as they are."""
        if self.metric:
            return self.positions
        enu = pycolmap.GPSTransform().ellipsoid_to_enu(self.positions, *self.positions[origin])
        return np.asarray(enu, np.float64)


class _Moved(NamedTuple):
    """A model moved to places."""

    origin: int
    """The place that the metres count from."""
    metres: NDArray[np.float64]
    """(M, 3)."""
    errors: NDArray[np.float64]
    """(M,) metres from the camera centres to the places."""

    @property
    def first_near(self) -> int | None:
        """The first place that agrees with the model; None: none does."""
        near = np.flatnonzero(self.errors <= MAX_ERROR)
        return int(near[0]) if len(near) else None


def _moved(model: Any, places: _Places, origin: int) -> _Moved | None:
    """Moves a model to its places, in place; None, and the model as it was: they contradict it, or are one place."""
    metres = places.metres(origin)
    if np.ptp(metres, axis=0).max() <= 0:
        return None
    options = pycolmap.RANSACOptions()
    options.max_error = MAX_ERROR
    options.random_seed = 0
    moved = pycolmap.align_reconstruction_to_locations(model, places.names, metres, FEWEST, options)
    if moved is None:
        return None
    model.transform(moved)
    return _Moved(origin, metres, np.linalg.norm(_residuals(model, places.names, metres), axis=1))


def _residuals(model: Any, names: list[str], metres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, 3) metres from the places to the camera centres."""
    centres = {image.name: image.projection_center() for image in model.images.values() if image.has_pose}
    return np.array([centres[name] for name in names]) - metres


def _scale_error(metres: NDArray[np.float64], residuals: NDArray[np.float64]) -> float:
    """Standard deviation of the scale of a similarity, by (M, 3) places and the residuals that it leaves."""
    if len(metres) < FEWEST:
        return float("nan")
    variance = (residuals**2).sum() / (residuals.size - UNKNOWNS)
    return float(np.sqrt(variance / ((metres - metres.mean(0)) ** 2).sum()))


def _line(metres: NDArray[np.float64], error: float) -> NDArray[np.float64] | None:
    """The direction of the line that (M, 3) places with such an error lie on; None: they do not."""
    _, spread, axes = np.linalg.svd(metres - metres.mean(0))
    narrow = len(spread) < 2 or spread[1] < max(NARROW * spread[0], SIDEWAYS * error * len(metres) ** 0.5)
    return axes[0] if narrow else None


def _turn(model: Any, axis: NDArray[np.float64], middle: NDArray[np.float64], images: Path) -> bool:
    """Turns the model about a line, in place, so that its views fit the gimbal's angles; False: they do not fix it."""
    posed = [model.image(number) for number in model.reg_image_ids()]
    found = [(image.viewing_direction(), view_direction(images / image.name)) for image in posed]
    views = [(view, told) for view, told in found if told is not None]
    if not views:
        return False
    seen, told = np.array([view for view, _ in views]), np.array([told for _, told in views])
    across = told - np.outer(told @ axis, axis)
    if np.median(np.linalg.norm(across, axis=1)) < ACROSS:
        return False
    # The turn that brings the views, as one, closest to the told ones.
    angle = np.arctan2((np.cross(seen, across) @ axis).sum(), (seen * across).sum())
    rotation = pycolmap.Rotation3d(angle * axis)
    between = np.degrees(np.arccos(np.clip((seen @ rotation.matrix().T * told).sum(1), -1, 1)))
    if np.median(between) > MAX_ANGLE:
        return False
    model.transform(pycolmap.Sim3d(1.0, rotation, middle - rotation.matrix() @ middle))
    return True


def _places(model: Any, database: Path) -> _Places | None:
    """The places of the registered images; None: fewer than FEWEST have one, or they are of two kinds."""
    with open_database(database) as opened:
        priors = {prior.corr_data_id.id: prior for prior in opened.read_all_pose_priors()}
    found = []
    for number in sorted(model.reg_image_ids()):
        prior = priors.get(number)
        if prior is None:
            continue
        position, metric = np.asarray(prior.position, np.float64).ravel(), prior.coordinate_system.name == CARTESIAN
        if np.isfinite(position).all() if metric else is_place(*position[:2]):
            found.append((model.image(number).name, position, metric))
    if len(found) < FEWEST or len({metric for *_, metric in found}) > 1:
        return None
    positions = np.array([position for _, position, _ in found])
    height = positions[:, 2]
    known = np.isfinite(height)
    # Without its altitude, a place is as high as the others are.
    height[~known] = np.median(height[known]) if known.any() else 0.0
    return _Places([name for name, *_ in found], positions, found[0][2], not known.any())
