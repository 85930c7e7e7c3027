"""How precisely a model is known: standard deviations of photos and points by its bundle adjustment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.colmap import open_database, pycolmap, quiet
from astr_cli.sfm.mapping.depths import depths

MOST_PHOTOS = 500  # the covariance of all poses is one dense matrix
MOST_POINTS = 2000  # of which the median is taken
WEAK = 3.0  # times the median standard deviation of the photos
HALF = 2.0  # the angle of a turn over Ceres' step of its quaternion
SIX = 6  # unknowns of a free photo
FEW_POINTS = 30  # a photo with fewer hangs by little

Frame = Literal["control points", "GPS", "two photos"]


class PhotoPrecision(NamedTuple):
    """One photo."""

    name: str
    points: int
    position: float | None
    """Standard deviation of the place, units of the model, all axes together; None: the frame holds a part of it."""
    rotation: float | None
    """Standard deviation of the rotation, degrees, all axes together."""


class Precision(NamedTuple):
    """Standard deviations in the units of the model, by the adjustment alone: systematic errors come on top."""

    frame: Frame
    """What they are relative to."""
    sigma: float
    """Pixels, of an observation, after the adjustment."""
    points: tuple[float, float, float]
    """Of a point, per axis, in the median."""
    gsd: float
    """Ground sample distance: units of the model per pixel, in the median."""
    photos: tuple[PhotoPrecision, ...]
    metres: bool = True
    """Whether the units of the model are metres."""

    @property
    def weak(self) -> tuple[PhotoPrecision, ...]:
        """Photos that are much less precise than the others, or hang by few points."""
        known = [photo.position for photo in self.photos if photo.position is not None]
        limit = WEAK * float(np.median(known)) if known else math.inf
        return tuple(each for each in self.photos if each.points < FEW_POINTS or (each.position or 0) > limit)


def precision_of(record: Mapping[str, Any] | None) -> Precision | None:
    """A Precision from its JSON. Raises KeyError, TypeError or ValueError: it is none."""
    if record is None:
        return None
    east, north, up = map(float, record["points"])
    photos = tuple(PhotoPrecision(**each) for each in record["photos"])
    return Precision(**{**record, "points": (east, north, up), "photos": photos})


class Adjusted(NamedTuple):
    """How a model was adjusted last."""

    held: Iterable[int] = ()
    hold_focals: bool = False
    constant: Sequence[int] = ()
    """Points of the model in the frame of control points."""
    priors: Any = None
    """pycolmap.PosePrior of its photos, where GPS took part: the model is in their frame."""


def precision(model: Any, done: Adjusted) -> Precision | None:
    """The precision of a pycolmap.Reconstruction, which stays as it is; None: too large, or it cannot be estimated."""
    if not 2 < model.num_reg_images() <= MOST_PHOTOS:
        return None
    own = pycolmap.Reconstruction(model)
    with quiet(errors=False):
        try:
            found = pycolmap.estimate_ba_covariance(_wanted(), own, _adjuster(own, done))
        except (RuntimeError, ValueError):
            return None
    if found is None:
        return None
    sigma = _sigma(own, done)
    numbers = sorted(set(own.point3D_ids()) - set(done.constant))
    spreads = [_spread(found.get_point_cov(number)) for number in numbers[:: max(1, len(numbers) // MOST_POINTS)]]
    axes = np.median(np.array([each for each in spreads if each is not None]).reshape(-1, 3), axis=0)
    return Precision(
        frame="control points" if done.constant else "GPS" if done.priors else "two photos",
        sigma=sigma,
        points=(float(sigma * axes[0]), float(sigma * axes[1]), float(sigma * axes[2])),
        gsd=ground_sample_distance(own),
        photos=tuple(_photo(own, number, found, sigma) for number in sorted(own.reg_image_ids())),
    )


def ground_sample_distance(model: Any) -> float:
    """Units of a pycolmap.Reconstruction per pixel, in the median of the photos' middle depths."""
    found = [np.median(seen) / model.image(number).camera.mean_focal_length() for number, seen in depths(model)]
    return float(np.median(found))


def read_priors(database: Any, model: Any) -> list[Any]:
    """The metric pose priors of the registered images of a model in a database of `write_priors`."""
    with open_database(database) as opened:
        found = opened.read_all_pose_priors()
    return [prior for prior in found if prior.corr_data_id.id in set(model.reg_image_ids())]


def _wanted() -> pycolmap.BACovarianceOptions:
    options = pycolmap.BACovarianceOptions()
    options.params = pycolmap.BACovarianceOptionsParams.POSES_AND_POINTS
    return options


def _adjuster(model: Any, done: Adjusted) -> Any:
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary, options.refine_focal_length = False, not done.hold_focals
    config = pycolmap.BundleAdjustmentConfig()
    for image in model.reg_image_ids():
        config.add_image(image)
    for camera in done.held:
        config.set_constant_cam_intrinsics(camera)
    for point in done.constant:
        config.add_constant_point(point)
    if done.priors and not done.constant:
        given = pycolmap.PosePriorBundleAdjustmentOptions()
        return pycolmap.create_pose_prior_ceres_bundle_adjuster(options, given, config, done.priors, model)
    if not done.constant:
        config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    return pycolmap.create_default_ceres_bundle_adjuster(options, config, model)


def _sigma(model: Any, done: Adjusted) -> float:
    """The standard deviation of one coordinate of an observation, by the residuals and the redundancy."""
    total, count = 0.0, 0
    for number in model.reg_image_ids():
        image = model.image(number)
        seen = image.get_observation_points2D()
        if not seen:
            continue
        points = np.array([model.point3D(each.point3D_id).xyz for each in seen])
        pixels = image.camera.img_from_cam(image.cam_from_world() * points)
        total += float(((pixels - np.array([each.xy for each in seen])) ** 2).sum())
        count += 2 * len(seen)
    unknowns = 3 * (model.num_points3D() - len(done.constant)) + 6 * model.num_reg_images()
    return math.sqrt(total / max(count - unknowns, 1))


def _photo(model: Any, number: int, found: Any, sigma: float) -> PhotoPrecision:
    image = model.image(number)
    covariance = found.get_cam_cov_from_world(number)
    fixed = covariance is None or len(covariance) < SIX  # the frame holds the photo, or a part of it
    if fixed or not np.isfinite(covariance).all():  # not finite: the photo's points hardly determine its pose
        return PhotoPrecision(image.name, image.num_points3D, None, None)
    pose = image.cam_from_world()
    slopes = centre_slopes(np.asarray(pose.rotation.matrix()), np.asarray(pose.translation))
    place = math.sqrt(np.trace(slopes @ covariance @ slopes.T))
    turn = HALF * math.sqrt(np.trace(covariance[:3, :3]))
    return PhotoPrecision(image.name, image.num_points3D, sigma * place, math.degrees(sigma * turn))


def centre_slopes(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 6) derivatives of a camera centre by COLMAP's step of its pose: a turn on the left, and the translation.

    Ceres' step of a quaternion is half of the angle.
    """
    x, y, z = translation
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.hstack([-HALF * rotation.T @ across, -rotation.T])


def _spread(covariance: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if covariance is None else np.sqrt(np.diag(covariance))
