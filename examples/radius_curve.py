"""How the merge radius of tracks changes a reconstruction, on rendered scenes with known cameras. Run as
    python examples/radius_curve.py FOLDER [--scenes 4] [--views 8] [--radius 0.5 --radius 1 ...]

Renders courtyards (quickstart_scene.py) into FOLDER, matches all pairs of each once, and for every radius imports them
and maps. Prints a line a radius: means over the scenes. What is in FOLDER already is taken over.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from quickstart_scene import write_scene

from astr_cli.matching.run.match import match_pairs
from astr_cli.options.database import ImportOptions, TrackOptions
from astr_cli.options.matching import MatchOptions
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import camera_centres, map_database

RADII = (0.5, 1.0, 2.0, 4.0)  # pixels of the matched size


class Point(NamedTuple):
    """One scene at one radius."""

    centre_error: float
    mean_track: float  # of the model
    reprojection: float  # pixels
    points: float
    median_track: float  # of what was imported
    two_views: float  # share of the imported tracks


def matched(folder: Path, variant: int, views: int) -> Path:
    """A rendered scene with its matches."""
    if not (folder / "gt.json").exists():
        write_scene(folder, variant, views)
    match_pairs(
        MatchOptions(pairs=folder / "pairs.txt", out=folder / "matches.h5", images=folder / "images"),
        lambda event: None,
    )
    return folder


def measure(folder: Path, radius: float) -> Point:
    """Imports and maps with one radius."""
    out = folder / f"radius-{radius:g}"
    out.mkdir(exist_ok=True)
    database = out / "database.db"
    options = ImportOptions(
        database,
        (folder / "matches.h5",),
        folder / "images",
        tracks=TrackOptions(merge_radius=radius),
        mode="create",
        backup=False,
    )
    summary = import_matches(options)
    model = map_database(database, folder / "images", out)
    if model.missing:
        raise SystemExit(f"{folder}: {', '.join(model.missing)} not registered at a radius of {radius:g}")
    centres = camera_centres(model.folder)
    views = json.loads((folder / "gt.json").read_text(encoding="utf-8"))["images"]
    truth = np.array([-np.array(view["R"]).T @ np.array(view["t"]) for view in views.values()])
    error = centre_error(np.array([centres[name] for name in views]), truth)
    return Point(
        error,
        model.mean_track,
        model.reprojection_error,
        model.points,
        summary.median_track,
        summary.two_view_share,
    )


def main(folder: Path, scenes: int, views: int, radii: tuple[float, ...]) -> None:
    """Prints the table."""
    folders = [matched(folder / f"courtyard-{variant}", variant, views) for variant in range(1, scenes + 1)]
    print(f"{scenes} scenes of {views} photos; means over the scenes, the worst centre error of any")
    print("| radius | centre error | worst | mean track | reprojection | points | median imported track | two views |")
    print("|---|---|---|---|---|---|---|---|")
    for radius in radii:
        found = [measure(scene, radius) for scene in folders]
        mean = Point(*(float(np.mean(column)) for column in zip(*found, strict=True)))
        print(
            f"| {radius:g} px | {100 * mean.centre_error:.4f}% | {100 * max(p.centre_error for p in found):.4f}% | "
            f"{mean.mean_track:.2f} | {mean.reprojection:.3f} px | {mean.points:.0f} | {mean.median_track:.2f} | "
            f"{100 * mean.two_views:.0f}% |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--radius", type=float, action="append", help="may be repeated (default 0.5, 1, 2, 4)")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.scenes, arguments.views, tuple(arguments.radius or RADII))
