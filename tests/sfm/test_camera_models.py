"""The camera model that the photos choose."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from astr_cli.cli.reconstruct_output import model_lines
from astr_cli.options.database import CameraOptions
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.sharing import CameraOptionError, check_camera_options
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.camera_models import ModelChoice, converted
from astr_cli.sfm.mapping.mapper import ModelSummary, camera_centres, map_database
from astr_cli.sfm.reconstruction.summary import plain

from .flights import Flight, fly


def mapped(flight: Flight, folder: Path, choose: bool = True) -> ModelSummary:
    folder.mkdir(exist_ok=True)
    return map_database(flight.write(folder / "db.db"), folder, folder, choose_cameras=choose)


def error_of(model: ModelSummary, flight: Flight) -> float:
    found = camera_centres(model.folder)
    assert len(found) == len(flight.names)
    truth = np.array([flight.centres[flight.names.index(name)] for name in found])
    return centre_error(np.array(list(found.values())), truth)


def test_a_lens_with_tangential_distortion(tmp_path: Path) -> None:
    flight = fly("orbit", distortion=-0.1, second=0.1, tangential=(0.004, -0.006))
    model = mapped(flight, tmp_path / "auto")
    choice = model.camera_model
    assert choice is not None and (choice.before, choice.model) == ("SIMPLE_RADIAL", "OPENCV")
    assert choice.observations >= 100 and choice.error < 0.95 * choice.error_before
    given = mapped(replace(flight, model="OPENCV"), tmp_path / "given", choose=False)
    assert given.points >= 200 and error_of(model, flight) < 1.2 * error_of(given, flight) + 1e-5
    assert any(line.startswith("camera model OPENCV: ") and "instead of" in line for line in model_lines(model))
    assert ModelChoice(**json.loads(json.dumps(plain(choice._asdict())))) == choice


@pytest.mark.parametrize("distortion", [0.0, -0.1])
def test_a_simple_lens_stays_simple(distortion: float, tmp_path: Path) -> None:
    model = mapped(fly("orbit", distortion=distortion), tmp_path)
    assert model.camera_model is not None and model.camera_model.model == "SIMPLE_RADIAL"
    assert model.camera_model.observations >= 100
    assert any("a richer model predicts no better" in line for line in model_lines(model))


def test_a_fisheye_lens(tmp_path: Path) -> None:
    """Known to see more than 110 degrees, so that it begins as one."""
    flight = fly("orbit", points=400, focal=500.0, prior=500.0, distortion=0.05, model="OPENCV_FISHEYE")
    assert CameraOptions(model="AUTO").first_model(500.0, 1600) == "OPENCV_FISHEYE"
    model = mapped(flight, tmp_path / "auto")
    assert model.camera_model is not None and model.camera_model.model == "OPENCV_FISHEYE"
    given = mapped(flight, tmp_path / "given", choose=False)
    assert given.points >= 200 and error_of(model, flight) < 1.2 * error_of(given, flight) + 1e-5


def test_parameters_in_another_model() -> None:
    """To first order: the same pixel for a ray near the middle."""
    rays = np.array([[0.1, 0.05, 1.0], [-0.15, 0.1, 1.0]])
    params = {"SIMPLE_RADIAL": [800, 640, 480, -0.05], "OPENCV_FISHEYE": [800, 800, 640, 480, 0.28, 0, 0, 0]}
    for name, values in params.items():
        camera = pycolmap.Camera(model=name, width=1280, height=960, params=values)
        for other in ("SIMPLE_RADIAL", "OPENCV", "OPENCV_FISHEYE", "THIN_PRISM_FISHEYE"):
            made = pycolmap.Camera(model=other, width=1280, height=960, params=converted(camera, other))
            assert np.abs(made.img_from_cam(rays) - camera.img_from_cam(rays)).max() < 0.1, (name, other)


def test_options() -> None:
    check_camera_options(CameraOptions(model="AUTO"))
    assert CameraOptions(model="AUTO").first_model(None, 1600) == "SIMPLE_RADIAL"
    assert CameraOptions(model="OPENCV").first_model(500, 1600) == "OPENCV"
    with pytest.raises(CameraOptionError, match="needs the model that they belong to"):
        check_camera_options(CameraOptions(model="AUTO", params="1,2,3,4"))
