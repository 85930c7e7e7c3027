"""The viewing direction of a drone's camera, from the angles that DJI writes to XMP."""

from __future__ import annotations

import math
from pathlib import Path

from astr_cli.images.drone import drone_tags


def view_direction(path: Path) -> tuple[float, float, float] | None:
    """The unit vector (east, north, up) that the middle of the photo shows; None when the file lacks the angles."""
    tags = drone_tags(path)
    if tags.pitch is None or tags.yaw is None:
        return None
    pitch, yaw = math.radians(tags.pitch), math.radians(tags.yaw)
    return math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), math.sin(pitch)
