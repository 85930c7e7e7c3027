"""Where on the earth a model stands: from arbitrary units to metres, by the places where photos were taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.colmap import open_database, pycolmap

FEWEST = 3  # photos with a place; fewer leave a turn open
MAX_ERROR = 10.0  # metres; a phone's GPS is good to 5 or so
NARROW = 0.05  # places less wide than this, by their length, lie on a line
CARTESIAN = "CARTESIAN"


class Georeference(NamedTuple):
    """A model in metres: x east, y north, z up of its origin."""

    latitude: float
    """Of the origin, WGS84 degrees; with positions that were metres already, 0."""
    longitude: float
    altitude: float
    """Metres."""
    photos: int
    """With a known place."""
    within: int
    """Those that came to lie within 10 m of it."""
    median_error: float
    """Metres, of these."""
    on_a_line: bool
    """Whether the places lie on a line: then the turn about it is not known."""


def georeference(model: Any, database: Path) -> Georeference | None:
    """Moves a pycolmap.Reconstruction, in place, to the pose priors of its images in the database it came from.

    None, and the model as it was, where fewer than 3 registered images have a place or most of them contradict it.
    """
    places = _places(model, database)
    if places is None:
        return None
    names, metres, origin = places
    options = pycolmap.RANSACOptions()
    options.max_error = MAX_ERROR
    options.random_seed = 0
    moved = pycolmap.align_reconstruction_to_locations(model, names, metres, FEWEST, options)
    if moved is None:
        return None
    model.transform(moved)
    centres = {image.name: image.projection_center() for image in model.images.values() if image.has_pose}
    errors = np.linalg.norm(np.array([centres[name] for name in names]) - metres, axis=1)
    near = errors[errors <= MAX_ERROR]
    right = metres[errors <= MAX_ERROR] if len(near) else metres
    spread = np.linalg.svd(right - right.mean(0), compute_uv=False)
    return Georeference(
        latitude=float(origin[0]),
        longitude=float(origin[1]),
        altitude=float(origin[2]),
        photos=len(names),
        within=len(near),
        median_error=float(np.median(near)) if len(near) else float("nan"),
        on_a_line=len(spread) < 2 or bool(spread[1] < NARROW * spread[0]),
    )


def _places(model: Any, database: Path) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]] | None:
    """Names of the registered images with a place, (M, 3) metres east, north and up of the first, and where that is."""
    with open_database(database) as opened:
        priors = {prior.corr_data_id.id: prior for prior in opened.read_all_pose_priors()}
    found = []
    for number in sorted(model.reg_image_ids()):
        prior = priors.get(number)
        if prior is not None and np.isfinite(prior.position).all():
            flat = prior.coordinate_system.name == CARTESIAN
            found.append((model.image(number).name, np.asarray(prior.position, np.float64).ravel(), flat))
    if len(found) < FEWEST or len({flat for *_, flat in found}) > 1:
        return None
    names, positions = [name for name, *_ in found], np.array([position for _, position, _ in found])
    if found[0][2]:
        return names, positions, np.zeros(3)
    metres = np.asarray(pycolmap.GPSTransform().ellipsoid_to_enu(positions, *positions[0]), np.float64)
    if np.ptp(metres, axis=0).max() <= 0:
        return None
    return names, metres, positions[0]
