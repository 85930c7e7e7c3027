"""Coordinate systems of control points and of models by GPS: by pyproj, an optional library."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from astr_cli.errors import AstrError

UTM = re.compile(r"^WGS\s?84\s+UTM\s+(\d{1,2})\s*([NS])$", re.IGNORECASE)  # OpenDroneMap's own spelling
NORTH, SOUTH = 32600, 32700  # plus the zone: the EPSG numbers of UTM

SPAN = (-80.0, 84.0)  # degrees of latitude that UTM covers
NORTHWARD = 1e-3  # degrees, 111 m: the way that tells direction and scale of a grid

Position = tuple[float, float, float]


class CoordinateError(AstrError):
    """A coordinate system that astr cannot use."""


class Coordinates(NamedTuple):
    """A coordinate system in metres, and the one that a file is in."""

    name: str
    """Such as EPSG:32632: easting, northing and height in metres."""
    given: str
    """That of the file; another one if that is in degrees."""

    def metres(self, positions: Sequence[Position]) -> list[Position]:
        """Positions of the file (longitude, latitude, height if in degrees) in the system in metres."""
        if self.given == self.name:
            return list(positions)
        moved = _pyproj().Transformer.from_crs(self.given, self.name, always_xy=True)
        plane = [moved.transform(x, y) for x, y, _ in positions]
        return [(float(x), float(y), z) for (x, y), (_, _, z) in zip(plane, positions, strict=True)]

    def for_place(self, position: Position) -> Coordinates:
        """The same, with the UTM zone of a position of the file if that is in degrees."""
        if self.name:
            return self
        longitude, latitude, _ = position
        zone = min(60, int((longitude + 180) // 6) + 1)
        return self._replace(name=f"EPSG:{(NORTH if latitude >= 0 else SOUTH) + zone}")


class Grid(NamedTuple):
    """How UTM lies at a place, beside the plane that touches the earth there."""

    system: str
    """Such as EPSG:32632."""
    offset: Position
    """Easting, northing and height of the place, metres."""
    scale: float
    """Metres of the grid per metre on the ground."""
    turn: float
    """Degrees from the grid's north to true north, to the left."""


def utm_grid(latitude: float, longitude: float, altitude: float) -> Grid | None:
    """UTM at a place in WGS84 degrees and metres; None: pyproj is missing, or the place is near a pole."""
    try:
        pyproj = _pyproj()
    except CoordinateError:
        return None
    if not SPAN[0] <= latitude <= SPAN[1]:
        return None
    degrees = Coordinates("", "EPSG:4326").for_place((longitude, latitude, altitude))
    (east, north, _), (later_east, later_north, _) = degrees.metres(
        [(longitude, latitude, 0.0), (longitude, latitude + NORTHWARD, 0.0)]
    )
    way = pyproj.Geod(ellps="WGS84").inv(longitude, latitude, longitude, latitude + NORTHWARD)[2]
    across, along = later_east - east, later_north - north
    turn = math.degrees(math.atan2(-across, along))
    return Grid(degrees.name, (east, north, altitude), math.hypot(across, along) / way, turn)


def coordinates(text: str, where: str) -> Coordinates:
    """The system that the first line of a file names; where: the file and line, for messages.

    `WGS84 UTM 32N` needs no pyproj. Raises CoordinateError: pyproj is missing or does not know it, or it is in feet.
    """
    found = UTM.match(text)
    if found is not None:
        number = (NORTH if found.group(2).upper() == "N" else SOUTH) + int(found.group(1))
        return Coordinates(f"EPSG:{number}", f"EPSG:{number}")
    if re.fullmatch(r"EPSG:32[67]\d\d", text, re.IGNORECASE):
        return Coordinates(text.upper(), text.upper())
    system = _known(text, where)
    if system.is_geographic:
        return Coordinates("", text)
    unit = system.axis_info[0].unit_conversion_factor if system.axis_info else 0.0
    if not system.is_projected or unit != 1.0:
        raise CoordinateError(
            f"{where}: {text} is not in metres or degrees; convert the points to such a system, as UTM"
        )
    return Coordinates(text, text)


def _known(text: str, where: str) -> Any:
    """A pyproj.CRS."""
    pyproj = _pyproj(where)
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError:
        raise CoordinateError(
            f"{where}: {text!r} is no coordinate system; the first line is such as EPSG:32632 or WGS84 UTM 32N"
        ) from None


def _pyproj(where: str = "--gcp") -> Any:
    try:
        import pyproj
    except ImportError:
        raise CoordinateError(
            f"{where}: only UTM (WGS84 UTM 32N or EPSG:32632) is known without pyproj; install it: pip install "
            "'astr-cli[geo]'"
        ) from None
    return pyproj
