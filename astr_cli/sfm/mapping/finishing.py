"""From a model as a mapper left it to the one that is written: intrinsics, refinement, position on the earth."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.options.mapping import Gps
from astr_cli.sfm.mapping.camera_models import ModelChoice, choose_model
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, adjust
from astr_cli.sfm.mapping.control_adjustment import Control, adjust_to_control
from astr_cli.sfm.mapping.control_points import ControlError, ControlFile
from astr_cli.sfm.mapping.georeference import Georeference, georeference, to_grid
from astr_cli.sfm.mapping.heights import Heights, heights
from astr_cli.sfm.mapping.intrinsics import Calibration, settle
from astr_cli.sfm.mapping.model_refinement import ModelRefiner
from astr_cli.sfm.mapping.precision import Adjusted, Precision, precision, read_priors


@dataclass(frozen=True)
class Inputs:
    """What finishing a model needs."""

    database: Path
    """What it was mapped from: a copy."""
    places: Path
    """The same with the GPS positions as they were."""
    images: Path
    """The folder of the photos."""
    scratch: Path
    """A folder for files in between."""
    cameras: Calibration
    """Before mapping."""
    settings: MapperSettings
    """Those of the incremental mapper."""
    gps: Gps
    adjust_last: bool
    """Whether a last adjustment of the whole is needed: GPS did not take part in mapping, or groups were merged."""
    refiner: ModelRefiner | None = None
    control: ControlFile | None = None
    choose: bool = False
    """Whether the photos decide on the camera model."""


class Finished(NamedTuple):
    """A model, pycolmap.Reconstruction, and what is known of it."""

    model: Any
    cameras: Calibration
    place: Georeference | None
    heights: Heights | None
    control: Control | None = None
    control_problem: str = ""
    """Why the control points could not be used."""
    precision: Precision | None = None
    camera_model: ModelChoice | None = None


def finish(model: Any, inputs: Inputs) -> Finished:
    """Finishes one model. Raises ImageError: a photo cannot be read."""
    model, cameras = settle(model, inputs.database, inputs.cameras, inputs.settings)
    chosen = None
    if inputs.choose:
        last = cameras.settings(inputs.settings)
        inputs = replace(inputs, database=Path(shutil.copyfile(inputs.database, inputs.scratch / "chosen.db")))
        model, chosen = choose_model(model, inputs.database, last, last.held)
    return _placed(model, cameras, inputs)._replace(camera_model=chosen)


def _placed(model: Any, cameras: Calibration, inputs: Inputs) -> Finished:
    settings = inputs.settings
    if inputs.adjust_last:
        settings.tell("bundle adjustment of the whole model")
        adjust(model, inputs.database, cameras.settings(settings))
    if inputs.refiner is not None:
        settings.tell("refining a model")
        given = (inputs.database, inputs.images, inputs.scratch, cameras.settings(settings), settings.tell)
        model = inputs.refiner.refine(model, *given)
    last = cameras.settings(settings)
    control, problem, known = _controlled(model, inputs, last)
    if control is not None:
        return Finished(model, cameras, None, heights(model, inputs.images), control, "", known)
    done = Adjusted(last.held, last.hold_focals)
    if settings.priors:
        known = precision(model, done._replace(priors=read_priors(inputs.database, model)))
    place = None if inputs.gps == "none" else georeference(model, inputs.places, inputs.images)
    if place is not None:
        place = to_grid(model, place._replace(inside=inputs.gps == "prior"))
    found = None if place is None else heights(model, inputs.images)
    if known is None:
        known = precision(model, done)
    known = known and known._replace(metres=place is not None)
    return Finished(model, cameras, place, found, None, problem, known)


def _controlled(model: Any, inputs: Inputs, settings: MapperSettings) -> tuple[Control | None, str, Precision | None]:
    """Moves and adjusts a model to control points in place; else the reason why not, as a model took hours."""
    if inputs.control is None:
        return None, "", None
    settings.tell("bundle adjustment with control points")
    try:
        control, held = adjust_to_control(model, inputs.control, settings.held, settings.hold_focals)
    except ControlError as error:
        return None, str(error), None
    return control, "", precision(held.model, Adjusted(settings.held, settings.hold_focals, held.constant))
