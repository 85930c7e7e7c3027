"""The viewing direction of a drone's camera, from the angles that DJI writes to XMP."""

from __future__ import annotations

import math
import re
from pathlib import Path

from astr_cli.images.errors import ImageError
from astr_cli.images.opening import open_image

ANGLE = rb'Gimbal%sDegree(?:="|>)\s*([-+]?[0-9.]+)'


def view_direction(path: Path) -> tuple[float, float, float] | None:
    """The unit vector (east, north, up) that the middle of the photo shows; None when the file lacks the angles."""
    try:
        with open_image(path, path.name) as image:
            packet = image.info.get("xmp", b"")
    except ImageError:
        return None
    found = [re.search(ANGLE % name, packet) for name in (b"Pitch", b"Yaw")] if isinstance(packet, bytes) else [None]
    try:
        pitch, yaw = (math.radians(float(match.group(1))) for match in found if match is not None)
    except ValueError:  # one is missing, or no number
        return None
    return math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), math.sin(pitch)
