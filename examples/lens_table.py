"""What `--camera-model auto` makes of rendered photos with known lenses, beside the true model given. Run as
    python examples/lens_table.py FOLDER [--lens none --lens opencv --lens fisheye] [--long-side 640]

Renders twelve photos of an orbit per lens into FOLDER (1600 x 1200 pixels), matches each once, and prints the largest
error of a camera centre, as a share of the largest distance of two. What is in FOLDER already is kept.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rendered_flights import Flight, fly, write_flight

from astr_cli.options.database import CameraOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.matching import MatchingOptions
from astr_cli.options.pairs import PairChoice
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import ModelSummary, camera_centres
from astr_cli.sfm.reconstruction.reconstruct import reconstruct

LENSES: dict[str, dict[str, Any]] = {
    "none": {},
    "radial": {"distortion": -0.1},
    "opencv": {"distortion": -0.1, "second": 0.1, "tangential": (0.004, -0.006), "model": "OPENCV"},
    "fisheye": {"distortion": 0.05, "focal": 520.0, "prior": 520.0, "model": "OPENCV_FISHEYE"},
}
OVERLAP = 2  # photos on, 60 degrees


def flight_of(lens: str) -> Flight:
    """Every second photo of an orbit."""
    whole = fly("orbit", **LENSES[lens])
    return replace(whole, centres=whole.centres[::2], rotations=whole.rotations[::2], gps=whole.gps[::2])


def error_of(model: ModelSummary, flight: Flight) -> float:
    """The largest error of a camera centre, as a share; NaN: a photo is missing."""
    found = camera_centres(model.folder)
    if len(found) < len(flight.names):
        return float("nan")
    return centre_error(np.array([found[name] for name in flight.names]), flight.centres)


def row(folder: Path, lens: str, matching: MatchingOptions) -> str:
    """One lens, mapped with the choice of the photos and with the true kind of model."""
    flight, errors, chosen = flight_of(lens), {}, ""
    photos = write_flight(flight, folder / "photos")
    pairs = [
        f"{name} {flight.names[(number + step) % len(flight.names)]}\n"
        for number, name in enumerate(flight.names)
        for step in range(1, OVERLAP + 1)
    ]
    (folder / "pairs.txt").write_text("".join(pairs), encoding="utf-8")
    for model in ("auto", flight.model):
        out, matched = folder / model.lower(), folder / "auto" / "matches.h5"
        if matched.exists() and not out.exists():
            out.mkdir()
            shutil.copy(matched, out)
        options = ReconstructOptions(
            photos=photos,
            out=out,
            matching=matching,
            choice=PairChoice(pairs=str(folder / "pairs.txt")),
            cameras=CameraOptions(model=model.upper()),
            mapping=MapOptions(gps="none"),
        )
        found = reconstruct(options, lambda event: None).model
        errors[model] = error_of(found, flight)
        if found.camera_model is not None:
            chosen = found.camera_model.model
    ours, given = errors["auto"], errors[flight.model]
    return f"| {lens} | {flight.model} | {chosen} | {100 * ours:.4f} | {100 * given:.4f} | {ours / given:.2f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lens", action="append", choices=list(LENSES))
    parser.add_argument("--long-side", type=int)
    parser.add_argument("--max-matches", type=int, help="per pair: mapping is faster with fewer")
    arguments = parser.parse_args()
    print(
        "| lens | true model | chosen | error, % | with the true model, % | ratio |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for each in arguments.lens or list(LENSES):
        settings = MatchingOptions(long_side=arguments.long_side, max_matches=arguments.max_matches)
        print(row(arguments.folder / each, each, settings), flush=True)
