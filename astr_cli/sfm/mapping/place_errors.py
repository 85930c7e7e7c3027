"""How far the cameras of a model in metres are from the places that the database has for their photos."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.atomic import read_only

WGS84 = 0  # the number of a coordinate system in COLMAP's pose_priors
CAMERA = 0  # of a sensor type

Floats = NDArray[np.float64]


def place_errors(
    database: Path, centres: Mapping[str, Floats], origin: tuple[float, float, float]
) -> dict[str, Floats]:
    """Photo -> (3,) metres east, north and up from its known place to its camera; NaN up: the altitude is not known.

    centres: photo -> (3,) camera in metres east, north and up of `origin`, which is latitude, longitude and altitude;
    all 0 where the places are metres already. The database must not be open elsewhere.
    """
    query = (
        "SELECT images.name, position, coordinate_system FROM pose_priors JOIN images ON corr_data_id = image_id "
        "WHERE corr_sensor_type = ? ORDER BY images.name"
    )
    with closing(read_only(database)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pose_priors'").fetchone():
            return {}
        rows = connection.execute(query, (CAMERA,)).fetchall()
    found = {}
    for name, position, system in rows:
        place = np.frombuffer(position or b"", np.float64)
        if name in centres and len(place) == 3 and all(map(isfinite, place[:2])):
            found[str(name)] = centres[name] - (_metres(place, origin) if system == WGS84 else place)
    return found


def _metres(place: Floats, origin: tuple[float, float, float]) -> Floats:
    """(3,) metres east, north and up of the origin; NaN up without an altitude."""
    known = np.array([[place[0], place[1], place[2] if isfinite(place[2]) else origin[2]]])
    metres = np.asarray(pycolmap.GPSTransform().ellipsoid_to_enu(known, *origin), np.float64)[0]
    return metres if isfinite(place[2]) else np.array([*metres[:2], np.nan])
