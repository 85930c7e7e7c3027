"""The accuracy of simulated flights at check points, by use of GPS and control points; `pytest -s` prints it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from astr_cli.cli.reconstruct_output import model_warnings
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.mapping.control_points import read_control
from astr_cli.sfm.mapping.mapper import map_database

from .flights import CHECKS, Flight, check_errors, fly

GSD = 0.025
PLACES = {"align": {"gps": "align"}, "prior": {"gps": "prior", "gps_accuracy": 2.0}}


class Row(NamedTuple):
    kind: str
    places: str
    intrinsics: str
    focal: float
    plane: float
    """Root mean square at the check points, metres."""
    height: float
    weak: bool


def row(flight: Flight, kind: str, places: str, intrinsics: Any, folder: Path) -> Row:
    folder.mkdir()
    control = flight.write_control(folder / "gcp.txt")
    if kind == "line":
        flight.write_photos(folder)  # whose gimbal gives the tilt
    options: dict[str, Any] = dict(PLACES.get(places, PLACES["prior"]))
    if places == "prior + control":
        options |= {"gcp": control, "gcp_check": CHECKS}
    model = map_database(flight.write(folder / "db.db"), folder, folder, MapOptions(intrinsics=intrinsics, **options))
    if model.control is not None:
        _, plane, height = model.control.rms(checks=True)
    else:
        errors = check_errors(model, tuple(point for point in read_control(control, CHECKS).points if point.checks))
        plane, height = np.sqrt((errors[:, :2] ** 2).sum(1).mean()), np.sqrt((errors[:, 2] ** 2).mean())
    weak = any("are weak" in line for line in model_warnings(model))
    return Row(kind, places, intrinsics, model.cameras[0].focal, float(plane), float(height), weak)


@pytest.mark.slow
def test_the_table_of_flights(tmp_path: Path) -> None:
    """GPS of 2 m; five control points of 2 cm and half a pixel on both sides of the line, and five check points."""
    rows = []
    for kind in ("grid", "line", "orbit"):
        flight = fly(kind)
        choices = itertools.product([*PLACES, "prior + control"], ["fixed", "refine"])
        for number, (places, intrinsics) in enumerate(choices):
            rows.append(row(flight, kind, places, intrinsics, tmp_path / f"{kind}-{number}"))
    print("\n| flight | places | focal length | f, px | RMS in the plane, m | RMS of heights, m | called weak |")
    print("|---|---|---|---|---|---|---|")
    for each in rows:
        figures = f"{each.focal:.0f} | {each.plane:.3f} | {each.height:.3f} | {each.weak}"
        print(f"| {each.kind} | {each.places} | {each.intrinsics} | {figures} |")
    for each in rows:
        good = each.plane < 3 * GSD and each.height < 5 * GSD
        if each.places == "prior + control" and (each.kind != "line" or each.intrinsics == "fixed"):
            assert good, each
        if each.kind == "line":
            assert each.weak == (each.intrinsics == "refine"), each
