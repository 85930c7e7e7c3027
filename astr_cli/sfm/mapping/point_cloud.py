"""points.ply: the points of a model for viewers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FAR = 8192.0  # units from the origin; beyond, steps of float32 would be larger than a millimetre of a model in metres


def write_ply(model: Any, path: Path) -> None:
    """Writes the points of a pycolmap.Reconstruction with their colours, as float32, or float64 when far away."""
    points = [model.point3D(number) for number in sorted(model.point3D_ids())]
    xyz = np.array([point.xyz for point in points], np.float64).reshape(-1, 3)
    kind, name = ("<f8", "double") if np.abs(xyz).max(initial=0) > FAR else ("<f4", "float")
    table = np.zeros(len(points), [("xyz", kind, 3), ("rgb", "u1", 3)])
    table["xyz"] = xyz
    table["rgb"] = np.array([point.color for point in points], np.uint8).reshape(-1, 3)
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    head += [f"property {name} {axis}" for axis in "xyz"] + [
        f"property uchar {band}" for band in ("red", "green", "blue")
    ]
    path.write_bytes("\n".join([*head, "end_header\n"]).encode() + table.tobytes())
