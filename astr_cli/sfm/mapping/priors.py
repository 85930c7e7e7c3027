"""GPS positions with their precision, for a mapper that adjusts the cameras with them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.images.drone import drone_tags
from astr_cli.images.errors import ImageError
from astr_cli.images.gps import is_place
from astr_cli.images.info import read_info
from astr_cli.sfm.colmap import open_database, pycolmap

FEWEST = 3  # positions; fewer do not place a model
USUAL = 5.0  # metres, the standard deviation of a receiver without corrections
VERTICALLY = 2.0  # times that of the plane


class GpsError(AstrError):
    """Photos without the positions that an option needs."""


class Priors(NamedTuple):
    """What was written for a mapper."""

    photos: int
    precise: int
    """Of these, with a precision from EXIF or XMP."""


def write_priors(database: Path, out: Path, images: Path, accuracy: float | None) -> Priors:
    """Copies a database to `out` with its GPS positions in metres east, north and up of their middle, and covariances.

    images: the folder of the photos, whose EXIF and XMP have the precision. accuracy: the standard deviation of all
    positions instead, metres. Raises GpsError: fewer than 3 images have a position.
    """
    shutil.copyfile(database, out)
    with open_database(out) as opened:
        names = {image.image_id: image.name for image in opened.read_all_images()}
        priors = [prior for prior in opened.read_all_pose_priors() if _usable(prior)]
        priors = [prior for prior in priors if prior.coordinate_system == priors[0].coordinate_system]
        if len(priors) < FEWEST:
            raise GpsError(
                f"--gps prior: {len(priors)} photos have a GPS position, and at least {FEWEST} are needed; use --gps "
                "align or none"
            )
        positions = np.array([np.asarray(prior.position, np.float64).ravel() for prior in priors])
        unknown = ~np.isfinite(positions[:, 2])
        positions[unknown, 2] = 0.0 if unknown.all() else np.median(positions[~unknown, 2])
        if priors[0].coordinate_system.name == "WGS84":
            positions = pycolmap.GPSTransform().ellipsoid_to_enu(positions, *np.median(positions, axis=0))
        told = [precision(images, names[prior.corr_data_id.id]) for prior in priors]
        opened.clear_pose_priors()
        for prior, position, sigmas, flat in zip(priors, positions, told, unknown, strict=True):
            spread = np.full(3, accuracy) if accuracy is not None else np.array(sigmas or _usual())
            if flat:
                spread[2] = max(spread[2], 100 * USUAL)
            prior.position, prior.position_covariance = position, np.diag(spread**2)
            prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.CARTESIAN
            opened.write_pose_prior(prior)
    return Priors(len(priors), sum(sigmas is not None for sigmas in told))


def precision(images: Path, name: str) -> tuple[float, float, float] | None:
    """Standard deviations of a photo's position, metres east, north and up; None: the file does not tell."""
    rtk = drone_tags(images / name).precision
    if rtk is not None:
        return rtk
    try:
        place = read_info(images, name).place
    except ImageError:
        return None
    if place is None or place.precision is None:
        return None
    return place.precision, place.precision, VERTICALLY * place.precision


def _usual() -> tuple[float, float, float]:
    return USUAL, USUAL, VERTICALLY * USUAL


def _usable(prior: pycolmap.PosePrior) -> bool:
    position = np.asarray(prior.position, np.float64).ravel()
    metric = prior.coordinate_system.name == "CARTESIAN"
    return bool(np.isfinite(position).all()) if metric else is_place(*position[:2])
