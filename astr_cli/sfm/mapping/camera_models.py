"""Which camera model the photos ask for: the richer one, if it predicts observations that took no part better."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.colmap import open_database, pycolmap
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, adjust, adjust_alone, copied

WIDE = 0.35  # of the width: 110 degrees, from where perspective models fail
RICHER = ("OPENCV",)
FISHEYES = ("OPENCV_FISHEYE", "THIN_PRISM_FISHEYE")
LONGEST_LEFT = 3  # photos that a point keeps when one is held back
EVERY = 2  # points of which one observation is held back
LARGEST = 4.0  # pixels, the mapper's own limit: beyond, an observation is wrong
SURE = 3.0  # standard errors of the gain
WORTH = 0.01  # of the squared error: a smaller gain changes nothing
LEAST = 100  # observations that decide
TURNS = 2  # of adjustment with the model chosen: points that the simple one lost come back


class ModelChoice(NamedTuple):
    """What `--camera-model auto` chose."""

    model: str
    """COLMAP's name."""
    before: str
    """The model of the mapping."""
    observations: int
    """That were held back; 0: too few, so nothing was tried."""
    error_before: float
    """Root mean square of theirs, pixels, with the model of the mapping."""
    error: float
    """With the chosen model."""


class _Trial(NamedTuple):
    name: str
    squares: NDArray[np.float64]
    """(M,) squared errors of the observations held back."""


def choose_model(
    model: Any, database: Path, settings: MapperSettings, given: frozenset[int]
) -> tuple[Any, ModelChoice | None]:
    """A copy with the camera model that predicts best, for the cameras that are not given and begin alike.

    database: what the model was mapped from; its cameras become the chosen ones. settings: those of the last
    adjustment. None: all cameras are given.
    """
    free = sorted(set(model.cameras) - given)
    if not free:
        return model, None
    first = model.camera(free[0])
    before = first.model.name
    numbers = [number for number in free if model.camera(number).model.name == before]
    fewer, held = _held_back(model)
    names = FISHEYES if first.mean_focal_length() < WIDE * first.width else RICHER
    if len(held) < LEAST:
        return model, ModelChoice(before, before, 0, float("nan"), float("nan"))
    settings.tell("trying richer camera models")
    best = start = _trial(fewer, held, before, numbers, settings)
    for name in names:
        found = _trial(fewer, held, name, numbers, settings) if name != before else start
        best = found if _better(found, best) else best
    choice = ModelChoice(best.name, before, len(held), _rms(start), _rms(best))
    if best.name == before:
        return model, choice
    made = copied(model)
    _convert(made, best.name, numbers)
    adjust_alone(made, settings.held, settings.hold_focals)
    with open_database(database) as opened:
        for number in numbers:
            opened.update_camera(made.camera(number))
    for _ in range(TURNS):
        adjust(made, database, settings)
    return made, choice


def _better(found: _Trial, best: _Trial) -> bool:
    gain = best.squares - found.squares
    sure = gain.mean() > SURE * gain.std() / np.sqrt(len(gain))
    return bool(sure and gain.mean() > WORTH * best.squares.mean())


def _rms(trial: _Trial) -> float:
    return float(np.sqrt(trial.squares.mean()))


def _held_back(model: Any) -> tuple[Any, list[tuple[int, int, NDArray[np.float64]]]]:
    """A copy without some observations, and these: image, point, (2,) pixels."""
    fewer, held = copied(model), []
    long = [number for number in sorted(model.point3D_ids()) if model.point3D(number).track.length() > LONGEST_LEFT]
    for turn, number in enumerate(long[::EVERY]):
        elements = model.point3D(number).track.elements
        one = elements[turn % len(elements)]
        held.append((one.image_id, number, np.array(model.image(one.image_id).point2D(one.point2D_idx).xy)))
        fewer.delete_observation(one.image_id, one.point2D_idx)
    return fewer, held


def _trial(
    fewer: Any,
    held: list[tuple[int, int, NDArray[np.float64]]],
    name: str,
    numbers: list[int],
    settings: MapperSettings,
) -> _Trial:
    """Adjusts a copy with a camera model, and projects the points to the observations held back."""
    made = copied(fewer)
    _convert(made, name, numbers)
    adjust_alone(made, settings.held, settings.hold_focals)
    squares = []
    for image, point, pixel in held:
        shown = made.image(image).project_point(made.point3D(point).xyz)
        squares.append(LARGEST**2 if shown is None else min(float(((shown - pixel) ** 2).sum()), LARGEST**2))
    return _Trial(name, np.array(squares))


def _convert(model: Any, name: str, numbers: list[int]) -> None:
    """Gives cameras another model with the same focal length and, where it has one, the first radial coefficient."""
    for number in numbers:
        camera = model.camera(number)
        if camera.model.name != name:
            params = converted(camera, name)
            camera.model = getattr(pycolmap.CameraModelId, name)
            camera.params = params


def converted(camera: Any, name: str) -> list[float]:
    """The parameters of a pycolmap.Camera in another model, to first order in the distortion."""
    focal, (x, y) = camera.mean_focal_length(), (camera.principal_point_x, camera.principal_point_y)
    names = [each.strip() for each in camera.params_info.split(",")]
    bend = next((float(camera.params[names.index(each)]) for each in ("k", "k1") if each in names), 0.0)
    fisheye = "FISHEYE" in name
    if fisheye != ("FISHEYE" in camera.model.name):
        bend += 1 / 3 if fisheye else -1 / 3  # tan(a) = a + a^3 / 3
    if name in ("SIMPLE_RADIAL", "SIMPLE_RADIAL_FISHEYE"):
        return [focal, x, y, bend]
    rest = {"OPENCV": 3, "OPENCV_FISHEYE": 3, "THIN_PRISM_FISHEYE": 7}[name]
    return [focal, focal, x, y, bend, *([0.0] * rest)]
