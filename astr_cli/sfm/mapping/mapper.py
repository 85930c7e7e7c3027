"""Maps a verified database with COLMAP; the largest model comes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from astr_cli.errors import AstrError
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.mapping.camera_changes import CameraFigures, camera_figures
from astr_cli.sfm.mapping.camera_models import ModelChoice
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, incremental_settings
from astr_cli.sfm.mapping.colours import colour_points
from astr_cli.sfm.mapping.control_adjustment import Control
from astr_cli.sfm.mapping.control_points import read_control
from astr_cli.sfm.mapping.finishing import Finished, Inputs, finish
from astr_cli.sfm.mapping.first_models import TWO, Start, map_models, size
from astr_cli.sfm.mapping.georeference import Georeference
from astr_cli.sfm.mapping.heights import Heights
from astr_cli.sfm.mapping.model_refinement import ModelRefiner
from astr_cli.sfm.mapping.place_file import write_place
from astr_cli.sfm.mapping.point_cloud import write_ply
from astr_cli.sfm.mapping.precision import Precision
from astr_cli.sfm.mapping.unregistered import Join, Unregistered, joins, no_model_reason, unregistered
from astr_cli.sfm.own_files import PLY, is_model, require_own_models
from astr_cli.sfm.repeats.finding import Repeat
from astr_cli.sfm.scratch import scratch_folder
from astr_cli.wording import counted


class MappingError(AstrError):
    """COLMAP could not build a model from a database."""

    exit_code = 3


@dataclass(frozen=True)
class ModelSummary:
    """The largest model of a mapping."""

    folder: Path
    """COLMAP's binary model, and the points as a PLY file."""
    images: int
    """In the database."""
    registered: tuple[str, ...]
    """The images with a pose, by name."""
    missing: tuple[str, ...]
    """The images without a pose."""
    points: int
    mean_track: float
    """Images that see a point."""
    reprojection_error: float
    """Mean, in pixels of the original images."""
    models: int
    """The number of models; they are numbered by size."""
    georeference: Georeference | None
    """The model's position on the earth, in metres; None: its scale and position are arbitrary."""
    cameras: tuple[CameraFigures, ...]
    """The cameras of the registered images."""
    unregistered: tuple[Unregistered, ...] = ()
    """The reasons for the missing images."""
    heights: Heights | None = None
    """The model's depth beside the drone's height; None: nothing to compare."""
    control: Control | None = None
    """The model's place by control points, in place of `georeference`."""
    control_problem: str = ""
    """Why the control points could not be used."""
    camera_model: ModelChoice | None = None
    """What the photos chose; None: they were not asked."""
    precision: Precision | None = None
    """Of photos and points; None: not estimated."""
    joins: tuple[Join, ...] = ()
    """For the further models: which pairs might join them to the largest one."""
    repeats: tuple[Repeat, ...] | None = None
    """Pairs that repeated structure misled, those with most contradictions first; None: not looked for."""


def map_database(
    database: Path,
    images: Path,
    out: Path,
    options: MapOptions | None = None,
    tell: Callable[[str], None] = lambda line: None,
    stop: StopFlag | None = None,
    refiner: ModelRefiner | None = None,
    given: frozenset[str] = frozenset(),
    choose_cameras: bool = False,
) -> ModelSummary:
    """Maps a verified database into `out`/0, `out`/1, ..., largest first; older models of that name are replaced.

    Models whose photos have GPS positions in their EXIF are rotated and scaled to them. images: the folder
    of the photos, for the colours of the points. The database stays as it is: COLMAP, which writes to every database
    that it opens, gets a copy.

    refiner: improves every model on the pixels of the photos. given: the photos whose cameras the user gave.
    choose_cameras: whether the photos decide on the camera model.

    Raises MappingError: COLMAP built no model; ImageError: a photo cannot be read; AstrError: `out` holds a model of
    another program; Interrupted when `stop` is set.
    """
    options, stop = options or MapOptions(), stop or StopFlag()
    require_own_models(out)
    control = None if options.gcp is None else read_control(options.gcp, options.gcp_check)
    with scratch_folder(out, "mapping") as scratch:
        start, models = map_models(database, images, scratch, options, given, MapperSettings(stop=stop, tell=tell))
        names = start.names
        stop.check()
        if not models:
            raise MappingError(
                f"{database}: COLMAP could not build a model from {len(names)} images: {no_model_reason(start.copy)}"
            )
        inputs = replace(
            _inputs(start, images, scratch, options), refiner=refiner, control=control, choose=choose_cameras
        )
        finished = sorted((finish(model, inputs) for model in models), key=lambda each: size(each.model), reverse=True)
        for number, each in enumerate(finished):
            stop.check()
            _write(each, images, scratch / f"sorted-{number}")
        stop.check()
        _replace_models(out, scratch, len(finished), tell)
        return replace(_summary(out / "0", names, finished, start.copy), repeats=start.repeats)


def _inputs(start: Start, images: Path, scratch: Path, options: MapOptions) -> Inputs:
    """What finishing needs of the mapping; the caller adds what only the user knows."""
    many = len(start.names) > TWO
    # The global mapper's options are none of the incremental mapper's.
    globally = options.mapper == "global" and many
    own = start.settings._replace(options=()) if globally else incremental_settings(start.settings)
    return Inputs(
        database=start.source,
        places=start.copy,
        images=images,
        scratch=scratch,
        cameras=start.cameras,
        settings=own,
        gps=options.gps,
        # The hierarchical mapper does not adjust what it merged.
        adjust_last=(globally and own.priors) or (options.mapper == "hierarchical" and many),
    )


def _write(finished: Finished, images: Path, folder: Path) -> None:
    model = finished.model
    colour_points(model, images)
    model.update_point_3d_errors()
    folder.mkdir()
    model.write(folder)
    write_ply(model, folder / PLY)
    write_place(folder, finished.place, finished.control)


def _replace_models(out: Path, scratch: Path, count: int, tell: Callable[[str], None]) -> None:
    """Moves numbered models, and nothing else, of an earlier mapping away, and those of `scratch` in: none is ever
    there in part.
    """
    found = [folder for folder in out.iterdir() if folder.name.isdecimal() and is_model(folder)]
    if found:
        tell(f"{out}: {counted(len(found), 'earlier model')} replaced")
    for folder in found:
        folder.rename(scratch / f"old-{folder.name}")
    for number in range(count):
        (scratch / f"sorted-{number}").rename(_free(out / str(number)))


def _free(folder: Path) -> Path:
    """Raises AstrError: something else has that name."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise AstrError(f"{folder}: exists and is not a model of COLMAP; move or rename it")
    return folder


def _summary(folder: Path, names: list[str], models: list[Finished], database: Path) -> ModelSummary:
    """models: the largest first."""
    finished = models[0]
    best, cameras = finished.model, finished.cameras
    registered = _registered(best)
    missing = tuple(name for name in names if name not in registered)
    return ModelSummary(
        folder=folder,
        images=len(names),
        registered=tuple(name for name in names if name in registered),
        missing=missing,
        points=best.num_points3D(),
        mean_track=best.compute_mean_track_length(),
        reprojection_error=best.compute_mean_reprojection_error(),
        models=len(models),
        georeference=finished.place,
        cameras=camera_figures(best, cameras.cameras, cameras.holds),
        unregistered=unregistered(database, missing),
        heights=finished.heights,
        control=finished.control,
        control_problem=finished.control_problem,
        camera_model=finished.camera_model,
        precision=finished.precision,
        joins=joins(database, [_registered(each.model) for each in models]),
    )


def _registered(model: Any) -> frozenset[str]:
    return frozenset(model.image(number).name for number in model.reg_image_ids())


def camera_centres(model: Path) -> dict[str, tuple[float, float, float]]:
    """Name -> camera centre (world units) of every registered image of a COLMAP model folder."""
    loaded = read_model(model)
    centres = {}
    for number in loaded.reg_image_ids():
        image = loaded.image(number)
        x, y, z = image.projection_center()
        centres[image.name] = (float(x), float(y), float(z))
    return centres
