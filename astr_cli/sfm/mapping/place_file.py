"""georeference.json: how the coordinates of a model become those of a coordinate system on the earth."""

from __future__ import annotations

import json
from pathlib import Path

from astr_cli.sfm.mapping.control_adjustment import Control
from astr_cli.sfm.mapping.georeference import Georeference

FILE = "georeference.json"
FORMAT = 1
PLANE = "metres east, north and up of the origin, a plane that touches WGS84"


def write_place(folder: Path, place: Georeference | None, control: Control | None) -> None:
    """Writes the file into a model's folder, if anything places the model."""
    record: dict[str, object]
    if control is not None:
        record = {
            "system": control.system,
            "offset": list(control.offset),
            "source": "control points",
            "residuals": [each._asdict() for each in control.residuals],
        }
    elif place is not None:
        grid = place.grid
        record = {
            **({"system": PLANE} if grid is None else grid._asdict()),
            "origin": {"latitude": place.latitude, "longitude": place.longitude, "altitude": place.altitude},
            "source": "GPS",
            "upright": place.upright,
            "residuals_rms": {"east": place.east, "north": place.north, "up": place.up},
        }
    else:
        return
    text = json.dumps({"format": FORMAT, **record}, ensure_ascii=False, indent=1)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")
