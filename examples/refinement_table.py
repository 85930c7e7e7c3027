"""What refinement does to the observations and the models of a scene with known cameras. Run as
    python examples/refinement_table.py SCENE MATCHES --work FOLDER [--seeds 5] [--cameras per-image] [--row off ...]

SCENE is a folder with gt.json and images/, as for `astr eval`; MATCHES a file of all its pairs, from `astr match`.
Two tables are printed: epipolar errors of the observations, by the true cameras, before and after refinement; and the
models, each figure the median over the seeds of the mapper. Rows are off, and RULE or model-RULE with RULE keep, mixed
or drop.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from astr_cli.evaluate.pose_folder import PoseFolder
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.options.database import CameraMode, CameraOptions, ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.refinement import Rule, TrackRefineOptions
from astr_cli.refine.observations import Observations, grouped, track_count
from astr_cli.refine.planning import plan_from_neighbours
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.tracks import Refined, refine_tracks
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import camera_centres, map_database
from astr_cli.sfm.mapping.model_refinement import ModelRefiner
from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage, StoredRows
from astr_cli.sfm.tracks.refinement import PhotoPixels, photo_pixels
from astr_cli.store.matches_file import MatchesFile

ROWS = ("off", "keep", "mixed", "drop", "model-mixed", "model-drop")


class Model(NamedTuple):
    """One reconstruction."""

    registered: float
    points: float
    mean_track: float
    reprojection: float  # pixels of the photos
    centre_error: float  # share of the largest distance of two true centres; NaN: a photo is missing


def read_images(matches: Path) -> tuple[MatchedImage, ...]:
    """The photos of a matches file."""
    with MatchesFile(matches) as file, closing(StoredRows(file)) as rows:
        return rows.images


def print_observations(scene: PoseFolder, matches: Path) -> None:
    """The table of observations: those of all tracks but the references themselves."""
    with MatchesFile(matches) as file, closing(StoredRows(file)) as rows:
        images, tracks = rows.images, build_tracks(rows)
    sizes = np.array([each.size for each in images], np.int32)
    pixel = np.array([photo_pixels(each) for each in images])[tracks.image]
    seen = Observations(tracks.image, tracks.track, tracks.keypoints.astype(np.float64), pixel, sizes)
    plan = plan_from_neighbours(seen, Settings().half)
    found = refine_tracks(seen, plan, PhotoPixels(scene.images, images, None), Settings())
    base = plan.reference[seen.track]
    moving = (base >= 0) & (found.status != Status.REFERENCE)
    before, after = (epipolar(scene, images, seen, xy, base, moving) for xy in (seen.xy, found.xy))
    accepted = found.status[moving] == Status.REFINED
    print(f"{moving.sum():,} observations beside {track_count(seen):,} references, {accepted.mean():.1%} refined")
    print(f"median sigma {median_sigma(found):.3f} px, median shift {median_shift(found):.3f} px")
    print("| observations | median epipolar error before, px | after | p90 before | after | under 1 px after |")
    print("|---|---|---|---|---|---|")
    for name, chosen in (("refined", accepted), ("left", ~accepted), ("all", accepted | True)):
        figures = [f"{np.quantile(values[chosen], q):.3f}" for q in (0.5, 0.9) for values in (before, after)]
        print(f"| {name} | {' | '.join(figures)} | {(after[chosen] < 1).mean():.1%} |")


def median_sigma(found: Refined) -> float:
    """Of the refined observations, photo pixels."""
    return float(np.median(found.sigma[found.status == Status.REFINED]))


def median_shift(found: Refined) -> float:
    """Of the refined observations, photo pixels."""
    return float(np.median(found.shift[found.status == Status.REFINED]))


def epipolar(
    scene: PoseFolder, images: tuple[MatchedImage, ...], seen: Observations, xy: Any, base: Any, moving: Any
) -> Any:
    """(M,) distances, in photo pixels, of the moving observations from the epipolar lines of their references."""
    errors = np.full(len(xy), np.nan)
    views = [scene.views[each.name] for each in images]
    by_photo = grouped(seen.photo, len(images))
    for photo, view in enumerate(views):
        mine = by_photo.rows(photo)
        mine = mine[moving[mine]]
        for other in np.unique(seen.photo[base[mine]]):
            rows = mine[seen.photo[base[mine]] == other]
            first = views[other]
            rotation = view.rotation @ first.rotation.T
            x, y, z = view.translation - rotation @ first.translation
            cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
            matrix = np.linalg.inv(view.intrinsics).T @ cross @ rotation @ np.linalg.inv(first.intrinsics)
            lines = np.c_[xy[base[rows]], np.ones(len(rows))] @ matrix.T
            distance = (np.c_[xy[rows], np.ones(len(rows))] * lines).sum(axis=1)
            errors[rows] = np.abs(distance) / np.linalg.norm(lines[:, :2], axis=1)
    return errors[moving]


def model(scene: PoseFolder, matches: Path, work: Path, row: str, cameras: CameraMode, seed: int) -> Model:
    """The model of one row of the table. What an earlier call left in `work` is taken over."""
    kind, _, name = row.rpartition("-")
    rule: Rule = "mixed" if name == "off" else cast(Rule, name)
    out = work / f"{row}-{cameras}-{seed}"
    record = out / "figures.json"
    if record.is_file():
        return Model(*json.loads(record.read_text(encoding="utf-8")))
    database = work / f"{name}-{cameras}.db"
    refinement = TrackRefineOptions("off") if row == "off" else TrackRefineOptions("tracks", rule)
    options = ImportOptions(
        database,
        (matches,),
        scene.images,
        cameras=CameraOptions(cameras),
        refinement=refinement,
        backup=False,
        replace_ours=True,
    )
    import_matches(options)
    images = read_images(matches)
    refiner = ModelRefiner(images, PhotoPixels(scene.images, images, None), rule) if kind else None
    out.mkdir(parents=True, exist_ok=True)
    found = map_database(database, scene.images, out, MapOptions(seed=seed), refiner=refiner)
    centres = camera_centres(found.folder)
    names = sorted(scene.views)
    error = float("nan")
    if set(names) <= set(centres):
        truth = [-scene.views[name].rotation.T @ scene.views[name].translation for name in names]
        error = centre_error(np.array([centres[name] for name in names]), np.array(truth))
    made = Model(len(found.registered), found.points, found.mean_track, found.reprojection_error, error)
    record.write_text(json.dumps(made), encoding="utf-8")
    return made


def main(folder: Path, matches: Path, work: Path, seeds: int, cameras: CameraMode, rows: tuple[str, ...]) -> None:
    """Prints both tables."""
    scene = read_pose_folder(folder)
    work.mkdir(parents=True, exist_ok=True)
    print_observations(scene, matches)
    print(f"\ncameras {cameras}, median of {seeds} seeds (and the range of the centre error)")
    print("| refinement | registered | points | mean track | reprojection, px | largest centre error |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        found = [model(scene, matches, work, row, cameras, seed) for seed in range(seeds)]
        middle = Model(*(float(np.median(column)) for column in zip(*found, strict=True)))
        ends = [100 * choose(each.centre_error for each in found) for choose in (min, max)]
        print(
            f"| {row} | {middle.registered:.0f} of {len(scene.views)} | {middle.points:,.0f} "
            f"| {middle.mean_track:.2f} | {middle.reprojection:.3f} "
            f"| {100 * middle.centre_error:.4f}% ({ends[0]:.4f} to {ends[1]:.4f}) |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("matches", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for databases and models")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cameras", default="per-image", help="as --camera-mode of astr colmap-import")
    parser.add_argument("--row", action="append", choices=ROWS, help="may be repeated (default: all)")
    arguments = parser.parse_args()
    chosen = tuple(arguments.row or ROWS)
    main(arguments.scene, arguments.matches, arguments.work, arguments.seeds, arguments.cameras, chosen)
