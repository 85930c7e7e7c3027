"""Cameras that a mapping bent."""

from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.reconstruct_output import camera_lines, camera_warnings
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.camera_changes import CameraFigures, camera_figures
from astr_cli.sfm.mapping.mapper import map_database


def camera(focal: float, known: bool = True, distortion: float | None = 0.1, prior: float = 1035.0) -> CameraFigures:
    return CameraFigures(1, 2, "a.jpg", focal, prior, known, distortion)


@pytest.mark.parametrize(
    ("found", "astray"),
    [
        (camera(1035), False),
        (camera(1500), False),
        (camera(700), False),
        (camera(3407), True),
        (camera(600), True),
        (camera(10_340_351), True),
        (camera(1035, distortion=-2.8), True),
        (camera(1035, distortion=None), False),
        (camera(2000, known=False), False),
        (camera(10_340_351, known=False), True),
    ],
)
def test_which_cameras_are_astray(found: CameraFigures, astray: bool) -> None:
    assert found.astray == astray
    assert len(list(camera_warnings([found]))) == astray


def test_the_worst_camera_is_named() -> None:
    worst = camera(10_340_351)._replace(number=7, first="w.jpg")
    (line,) = camera_warnings([camera(3407, distortion=7.2), worst, camera(1100)])
    assert line.startswith("camera 7 (w.jpg): focal length 10340351 px") and "EXIF or the options gave 1035 px" in line
    assert "(and 1 more camera)" in line and "--camera-mode single" in line
    (line,) = camera_lines([camera(702, distortion=-0.05)])
    assert line == "camera 1, 2 photos: focal length 702 px (initial value 1035 px), radial distortion -0.050"
    assert list(camera_lines([camera(702)] * 6))[-1] == "and 1 more camera"


def test_the_cameras_of_a_model(workplace: Path, scene: Any) -> None:
    """The true focal length is 480 pixels; the usual guess is 614."""
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    (found,) = map_database(workplace / "db.db", workplace / "photos", workplace).cameras
    assert (found.photos, found.first, found.known) == (6, "a.png", False)
    assert found.prior == pytest.approx(1.2 * 512) and found.focal == pytest.approx(480, rel=0.05)
    assert found.distortion is not None and abs(found.distortion) < 0.1 and not found.astray


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [
        ("SIMPLE_RADIAL", [500, 320, 240, 0.25], 0.25),
        ("OPENCV", [500, 500, 320, 240, -0.5, 0.1, 0, 0], -0.5),
        ("PINHOLE", [500, 500, 320, 240], None),
        ("FULL_OPENCV", [500, 500, 320, 240, 7, 8, 0, 0, 9, 7, 8, 9], None),
    ],
)
def test_the_first_radial_coefficient(model: str, params: list[float], expected: float | None) -> None:
    made = pycolmap.Camera(camera_id=1, model=model, width=640, height=480, params=params)
    lone = pycolmap.Reconstruction()
    lone.add_camera_with_trivial_rig(made)
    image = pycolmap.Image(name="a.jpg", camera_id=1, image_id=1)
    lone.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
    (found,) = camera_figures(lone, {1: made})
    assert (found.focal, found.distortion) == (500, expected)
