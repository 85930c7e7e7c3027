"""The viewing direction of a drone's camera, from the angles that DJI writes to XMP."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from astr_cli.images.drone import drone_tags

DOWN = -45.0  # degrees; photos with a smaller pitch look down


def view_direction(path: Path) -> tuple[float, float, float] | None:
    """The unit vector (east, north, up) that the middle of the photo shows; None when the file lacks the angles."""
    tags = drone_tags(path)
    if tags.pitch is None or tags.yaw is None:
        return None
    pitch, yaw = math.radians(tags.pitch), math.radians(tags.yaw)
    return math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), math.sin(pitch)


def turned_photos(paths: Iterable[Path]) -> int:
    """How many photos that look down are turned by more than 90 degrees from most of the others, as in every second
    strip of a flight.
    """
    tags = [found for found in map(drone_tags, paths) if found.yaw is not None and (found.pitch or 0) < DOWN]
    yaws = [math.radians(found.yaw) for found in tags if found.yaw is not None]
    return min((sum(math.cos(yaw - other) < 0 for yaw in yaws) for other in yaws), default=0)
