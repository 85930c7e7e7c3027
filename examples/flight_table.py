"""The accuracy of rendered flights at check points, by the use of GPS and control points. Run as
    python examples/flight_table.py FOLDER [--kind grid --kind line --kind orbit] [--long-side 640] [--max-matches 300]

Renders flights of 12 to 24 photos, 50 m above a relief of 10 m, into FOLDER: 1600 x 1200 pixels of 2.5 cm, GPS of 2 m.
Matches each once, and maps it with GPS aligned, with GPS in the adjustment, and with five control points (2 cm, half a
pixel) as well; the focal length held as in EXIF, where it is right, or refined. Five other points check. What is in
FOLDER already is kept.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from rendered_flights import CHECKS, Flight, Kind, check_errors, fly, write_flight

from astr_cli.cli.reconstruct_output import model_warnings
from astr_cli.options.mapping import MapOptions
from astr_cli.options.matching import MatchingOptions
from astr_cli.options.pairs import PairChoice, SpatialOptions
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.mapping.control_points import read_control
from astr_cli.sfm.reconstruction.reconstruct import reconstruct

KINDS = ("grid", "line", "orbit")
PLACES: dict[str, dict[str, Any]] = {
    "align": {"gps": "align"},
    "prior": {"gps": "prior", "gps_accuracy": 2.0},
    "prior + control": {"gps": "prior", "gps_accuracy": 2.0, "gcp_check": CHECKS},
}
# Photos of the simulated flights
KEPT = {"grid": range(24), "line": range(12), "orbit": [number for number in range(24) if number % 3]}
HEADINGS = ("flight", "places", "focal length", "f, px", "RMS in the plane, m", "RMS of heights, m", "called weak")


class Row(NamedTuple):
    """One model."""

    kind: str
    places: str
    intrinsics: str
    focal: float
    plane: float
    """Root mean square at the check points, metres."""
    height: float
    weak: bool

    def __str__(self) -> str:
        head = f"| {self.kind} | {self.places} | {self.intrinsics} | {self.focal:.0f} | {self.plane:.3f} "
        return f"{head}| {self.height:.3f} | {'yes' if self.weak else 'no'} |"


def rows(folder: Path, flight: Flight, kind: Kind, matching: MatchingOptions, neighbours: int) -> Iterator[Row]:
    """Matches a flight once and maps it in six ways."""
    photos = write_flight(flight, folder / "photos")
    control = flight.write_control(folder / "gcp.txt")
    checks = tuple(point for point in read_control(control, CHECKS).points if point.checks)
    for places, intrinsics in itertools.product(PLACES, ("fixed", "refine")):
        more: dict[str, Any] = {"gcp": control} if places == "prior + control" else {}
        options = ReconstructOptions(
            photos=photos,
            out=folder / "out",
            matching=matching,
            choice=PairChoice(pairs="spatial", spatial=SpatialOptions(neighbours=neighbours)),
            mapping=MapOptions(intrinsics=cast(Any, intrinsics), **PLACES[places], **more),
        )
        model = reconstruct(options, lambda event: None).model
        if model.control is not None:
            _, plane, height = model.control.rms(checks=True)
        else:
            squares = (check_errors(model, checks) ** 2).mean(0)
            plane, height = float(np.sqrt(squares[:2].sum())), float(np.sqrt(squares[2]))
        weak = any("are weak" in line for line in model_warnings(model))
        yield Row(kind, places, intrinsics, model.cameras[0].focal, plane, height, weak)


def flight_of(kind: Kind) -> Flight:
    """A flight of 12 to 24 photos."""
    whole, kept = fly(kind), list(KEPT[kind])
    return replace(whole, centres=whole.centres[kept], rotations=whole.rotations[kept], gps=whole.gps[kept])


def main(folder: Path, kinds: list[Kind], matching: MatchingOptions, neighbours: int) -> None:
    """Prints the table row by row."""
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}", flush=True)
    for kind in kinds:
        for row in rows(folder / kind, flight_of(kind), kind, matching, neighbours):
            print(row, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--long-side", type=int)
    parser.add_argument("--max-matches", type=int, help="per pair: mapping is faster with fewer")
    parser.add_argument("--rotate", default="auto", help="as for astr match: strips are flown in opposite directions")
    parser.add_argument("--neighbours", type=int, default=6)
    arguments = parser.parse_args()
    matching = MatchingOptions(
        long_side=arguments.long_side, max_matches=arguments.max_matches, rotate=arguments.rotate
    )
    main(arguments.folder, arguments.kind or list(KINDS), matching, arguments.neighbours)
