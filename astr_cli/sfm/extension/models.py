"""The models of a reconstruction with more photos: the first one grows, the others only keep fitting their database."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.contents import largest_error
from astr_cli.sfm.database.locked import copy_database
from astr_cli.sfm.extension.database import Additions, Start
from astr_cli.sfm.extension.growing import continued, largest_move, lengthened, readjusted
from astr_cli.sfm.mapping.camera_changes import camera_figures
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings
from astr_cli.sfm.mapping.colours import colour_points
from astr_cli.sfm.mapping.intrinsics import calibration
from astr_cli.sfm.mapping.mapper import ModelSummary
from astr_cli.sfm.mapping.pair_agreement import PairFigures, pair_figures
from astr_cli.sfm.mapping.place_file import FILE as PLACE
from astr_cli.sfm.mapping.point_cloud import write_ply
from astr_cli.sfm.mapping.precision import Adjusted, precision
from astr_cli.sfm.mapping.unregistered import unregistered
from astr_cli.sfm.own_files import PLY, is_model
from astr_cli.sfm.scratch import scratch_folder


class Extended(NamedTuple):
    """The first model after an extension."""

    summary: ModelSummary
    figures: tuple[PairFigures, ...]
    moved: float
    """How far an existing photo moved at most, in the model's units."""


def extend_models(start: Start, added: Additions, model: Any, database: Path, sparse: Path, readjust: bool) -> Extended:
    """Writes the models for a database with more keypoints into `sparse`; `model` is the first, as it was."""
    done, run = start.done, start.done.options
    with scratch_folder(sparse.parent, "mapping") as scratch:
        copy = scratch / "database.db"  # COLMAP writes to every database that it opens
        copy_database(database, copy)
        holds = {camera.number: camera.hold for camera in done.model.cameras}
        settings = MapperSettings(
            seed=run.mapping.seed,
            options=run.mapping.mapper_option if run.mapping.mapper == "incremental" else (),
            held=frozenset(number for number, hold in holds.items() if hold.held != "nothing"),
            limit=largest_error(copy),
            stop=start.stop,
            tell=start.tell,
        )
        names = sorted({*start.existing.images, *start.photos.new})
        grown = continued(lengthened(model, added.keypoints), copy, run.photos, scratch, settings, len(names))
        start.stop.check()
        if readjust:
            start.tell("adjusting all photos and points")
            grown = readjusted(grown, copy, settings)
        colour_points(grown, run.photos, start.photos.new.keys())
        grown.update_point_3d_errors()
        _write(grown, done.model.folder, sparse / "0")
        registered = {grown.image(number).name for number in grown.reg_image_ids()}
        missing = tuple(name for name in names if name not in registered)
        known = precision(grown, Adjusted(settings.held))
        metres = done.model.precision is None or done.model.precision.metres
        summary = replace(
            done.model,
            images=len(names),
            registered=tuple(name for name in names if name in registered),
            missing=missing,
            points=grown.num_points3D(),
            mean_track=grown.compute_mean_track_length(),
            reprojection_error=grown.compute_mean_reprojection_error(),
            cameras=camera_figures(grown, calibration(copy, "refine").cameras, holds),
            unregistered=unregistered(database, missing),
            precision=known and known._replace(metres=metres),
        )
    _write_others(done.model.folder.parent, added, sparse)
    return Extended(summary, pair_figures(database, sparse / "0"), largest_move(model, grown))


def _write_others(old: Path, added: Additions, sparse: Path) -> None:
    """The models but the first, with the new keypoints."""
    for folder in sorted(old.iterdir()):
        if folder.name.isdecimal() and folder.name != "0" and is_model(folder):
            _write(lengthened(read_model(folder), added.keypoints), folder, sparse / folder.name)


def _write(model: Any, old: Path, folder: Path) -> None:
    folder.mkdir()
    model.write(folder)
    write_ply(model, folder / PLY)
    if (old / PLACE).is_file():
        shutil.copyfile(old / PLACE, folder / PLACE)
