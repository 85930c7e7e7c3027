"""What drones write to XMP beside EXIF: angles of the gimbal, height above the take-off, precision of RTK."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from astr_cli.images.errors import ImageError
from astr_cli.images.opening import open_image

NUMBER = rb'%s(?:="|>)\s*([-+]?[0-9.]+)'
RTK = ("RtkStdLon", "RtkStdLat", "RtkStdHgt")


class DroneTags(NamedTuple):
    """The tags of one photo; None: the file lacks it."""

    pitch: float | None = None
    """Degrees; -90 looks straight down."""
    yaw: float | None = None
    """Degrees east of north."""
    height: float | None = None
    """Metres above the take-off."""
    precision: tuple[float, float, float] | None = None
    """Standard deviations of the position, metres east, north and up."""


def drone_tags(path: Path) -> DroneTags:
    """The tags of a photo; none of them where it cannot be read."""
    try:
        with open_image(path, path.name) as image:
            packet = image.info.get("xmp", b"")
    except ImageError:
        return DroneTags()
    if not isinstance(packet, bytes):
        return DroneTags()
    east, north, up = (_number(packet, name) for name in RTK)
    whole = east is not None and north is not None and up is not None and min(east, north, up) > 0
    return DroneTags(
        pitch=_number(packet, "GimbalPitchDegree"),
        yaw=_number(packet, "GimbalYawDegree"),
        height=_number(packet, "RelativeAltitude"),
        precision=(east, north, up) if whole else None,  # type: ignore[arg-type]
    )


def _number(packet: bytes, name: str) -> float | None:
    found = re.search(NUMBER % name.encode(), packet)
    try:
        number = float(found.group(1)) if found is not None else math.nan
    except ValueError:  # such as 1.2.3
        return None
    return number if math.isfinite(number) else None
