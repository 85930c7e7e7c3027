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
from astr_cli.sfm.mapping.intrinsics import Calibration, calibration
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
    photos = start.done.options.photos
    with scratch_folder(sparse.parent, "mapping") as scratch:
        copy = scratch / "database.db"  # COLMAP writes to every database that it opens
        copy_database(database, copy)
        cameras = cameras_of(start, copy)
        settings = cameras.settings(settings_of(start, copy))
        total = len(start.photos.held) + len(start.photos.new)
        grown = continued(lengthened(model, added.keypoints), copy, photos, scratch, settings, total)
        start.stop.check()
        if readjust:
            start.tell("adjusting all photos and points")
            grown = readjusted(grown, copy, settings)
    colour_points(grown, photos, start.photos.new.keys())
    grown.update_point_3d_errors()
    old = start.done.model.folder
    write_model(grown, old, sparse / "0")
    _write_others(old.parent, added, sparse)
    summary = summary_of(start, grown, database, cameras)
    return Extended(summary, pair_figures(database, sparse / "0"), largest_move(model, grown))


def settings_of(start: Start, database: Path) -> MapperSettings:
    """Those of the mapper, but for what is held."""
    mapping = start.done.options.mapping
    return MapperSettings(
        seed=mapping.seed,
        options=mapping.mapper_option if mapping.mapper == "incremental" else (),
        limit=largest_error(database),
        stop=start.stop,
        tell=start.tell,
    )


def cameras_of(start: Start, database: Path) -> Calibration:
    """All cameras: of existing ones is held what the reconstruction held, of new ones those that the user gave.

    A new focal length from EXIF is adjusted: the existing model determines it.
    """
    found = calibration(database, start.done.options.mapping.intrinsics, start.photos.given)
    new = {
        number: hold if hold.held == "all" else hold._replace(held="nothing") for number, hold in found.holds.items()
    }
    return replace(found, holds={**new, **{camera.number: camera.hold for camera in start.done.model.cameras}})


def summary_of(start: Start, model: Any, database: Path, cameras: Calibration) -> ModelSummary:
    """The summary of a model of all photos of a start; database: its own."""
    before = start.done.model
    names = sorted({*start.photos.held, *start.photos.new})
    registered = {model.image(number).name for number in model.reg_image_ids()}
    missing = tuple(name for name in names if name not in registered)
    known = precision(model, Adjusted(cameras.held("all") | cameras.held("focal")))
    metres = before.precision is None or before.precision.metres
    return replace(
        before,
        images=len(names),
        registered=tuple(name for name in names if name in registered),
        missing=missing,
        points=model.num_points3D(),
        mean_track=model.compute_mean_track_length(),
        reprojection_error=model.compute_mean_reprojection_error(),
        cameras=camera_figures(model, cameras.cameras, cameras.holds),
        unregistered=unregistered(database, missing),
        precision=known and known._replace(metres=metres),
    )


def _write_others(old: Path, added: Additions, sparse: Path) -> None:
    """The models but the first, with the new keypoints."""
    for folder in sorted(old.iterdir()):
        if folder.name.isdecimal() and folder.name != "0" and is_model(folder):
            write_model(lengthened(read_model(folder), added.keypoints), folder, sparse / folder.name)


def write_model(model: Any, old: Path, folder: Path) -> None:
    """Writes a model with its points.ply, and with the place of the model `old`."""
    folder.mkdir()
    model.write(folder)
    write_ply(model, folder / PLY)
    if (old / PLACE).is_file():
        shutil.copyfile(old / PLACE, folder / PLACE)
