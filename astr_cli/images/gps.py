"""Where a photo was taken, from EXIF; what receivers write without a fix is no place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import ExifTags

SHARES = (1.0, 60.0, 3600.0)  # of a degree: degrees, minutes, seconds
HIGHEST = 100_000.0  # metres; no camera that EXIF speaks of is higher, and none as deep
NOWHERE = 1e-9  # degrees: 0, 0 is what receivers write before they know


class Place(NamedTuple):
    """A position on the earth, WGS84."""

    latitude: float
    """Degrees, north is positive."""
    longitude: float
    """Degrees, east is positive."""
    altitude: float | None
    """Metres; None: unknown."""
    precision: float | None = None
    """Standard deviation in the plane, metres; None: unknown."""


def exif_place(tags: Mapping[int, Any]) -> Place | None:
    """The place that the GPS tags of EXIF give; None: they give none, or one that cannot be."""
    latitude = _angle(tags.get(ExifTags.GPS.GPSLatitude), tags.get(ExifTags.GPS.GPSLatitudeRef), "NS")
    longitude = _angle(tags.get(ExifTags.GPS.GPSLongitude), tags.get(ExifTags.GPS.GPSLongitudeRef), "EW")
    if latitude is None or longitude is None or not is_place(latitude, longitude):
        return None
    error = _number(tags.get(ExifTags.GPS.GPSHPositioningError))
    return Place(latitude, longitude, _altitude(tags), error if error is not None and error > 0 else None)


def is_place(latitude: float, longitude: float) -> bool:
    """Whether two numbers in degrees can be a place: finite, on the earth, and not 0, 0."""
    inside = abs(latitude) <= 90 and abs(longitude) <= 180  # false for NaN
    return inside and max(abs(latitude), abs(longitude)) > NOWHERE


def _angle(parts: Any, side: Any, sides: str) -> float | None:
    """Degrees, minutes and seconds to degrees. Minutes and seconds of 0/0 are not given: the part before has them."""
    letter = _text(side)[:1].upper()
    if not isinstance(parts, tuple | list) or not parts or letter not in sides or not letter:
        return None
    numbers = [_number(part) for part in parts[: len(SHARES)]]
    if numbers[0] is None:
        return None
    angle = sum((number or 0.0) / share for number, share in zip(numbers, SHARES, strict=False))
    return -angle if letter in "SW" else angle


def _altitude(tags: Mapping[int, Any]) -> float | None:
    metres = _number(tags.get(ExifTags.GPS.GPSAltitude))
    if metres is None or abs(metres) > HIGHEST:
        return None
    below = tags.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    return -metres if below else metres


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
