"""Known intrinsics: held, released, and what is said of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.reconstruct_output import camera_lines, model_warnings
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.intrinsics import bend, calibration, is_flat, on_a_line, why_degenerate
from astr_cli.sfm.mapping.mapper import ModelSummary, map_database

from .flights import FOCAL, Flight, fly


def mapped(flight: Flight, folder: Path, given: bool = False, **options: Any) -> ModelSummary:
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").mkdir()
    database = flight.write(folder / "out" / "db.db")
    names = frozenset(flight.names) if given else frozenset()
    return map_database(database, folder / "out", folder / "out", MapOptions(**options), given=names)


def focal_of(model: ModelSummary) -> float:
    return float(read_model(model.folder).camera(1).mean_focal_length())


def test_a_focal_length_that_the_photos_determine_is_refined(tmp_path: Path) -> None:
    """EXIF is wrong by 5%; the distortion comes out as well."""
    model = mapped(fly("orbit", prior=1.05 * FOCAL, distortion=-0.1), tmp_path)
    (camera,) = model.cameras
    assert model.registered == fly("orbit").names and model.points >= 200
    assert camera.hold.held == "nothing" and camera.focal == pytest.approx(FOCAL, rel=2e-3)
    assert camera.distortion == pytest.approx(-0.1, abs=5e-3)
    assert camera.hold.other_focal == pytest.approx(1.05 * FOCAL)
    (line,) = camera_lines(model.cameras)
    assert "refined; held as in EXIF it would be 2100 px" in line


@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_photos_along_a_line_hold_the_focal_length(mapper: Any, tmp_path: Path) -> None:
    model = mapped(fly("line", distortion=-0.05), tmp_path, mapper=mapper)
    (camera,) = model.cameras
    assert len(model.registered) == 12 and model.points >= 200
    assert camera.hold.held == "focal" and focal_of(model) == FOCAL
    assert camera.distortion == pytest.approx(-0.05, abs=0.02)
    assert camera.hold.other_focal is not None and camera.hold.other_focal != FOCAL
    (line,) = camera_lines(model.cameras)
    assert "held as in EXIF: photos taken along a line do not determine it; refined it would be" in line


def test_a_refined_focal_length_far_from_exif_is_a_warning(tmp_path: Path) -> None:
    """Here it is EXIF that is wrong; nobody can tell from photos along a line."""
    flight = fly("line", prior=1.4 * FOCAL)
    refined = mapped(flight, tmp_path, intrinsics="refine")
    assert focal_of(refined) < 1.2 * FOCAL
    (warning,) = [line for line in model_warnings(refined) if "refined focal length" in line]
    assert "off the 2800 px of EXIF (photos taken along a line do not determine it)" in warning
    assert "use --intrinsics auto" in warning
    held = mapped(flight, tmp_path)
    assert focal_of(held) == 1.4 * FOCAL and not [line for line in model_warnings(held) if "refined focal" in line]


def test_photos_that_contradict_exif_win(tmp_path: Path) -> None:
    """An orbit determines the focal length, and EXIF is off by a third, as that of cropped photos is."""
    model = mapped(fly("orbit", prior=1.33 * FOCAL), tmp_path)
    assert focal_of(model) == pytest.approx(FOCAL, rel=0.01)
    assert any("check that the photos are not cropped" in line for line in model_warnings(model))


@pytest.mark.parametrize(("choice", "given"), [("auto", True), ("fixed", False), ("fixed", True)])
@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_given_cameras_are_held(choice: Any, given: bool, mapper: Any, tmp_path: Path) -> None:
    model = mapped(fly("orbit", prior=1.01 * FOCAL), tmp_path, given, intrinsics=choice, mapper=mapper)
    assert list(read_model(model.folder).camera(1).params) == [1.01 * FOCAL, 800, 600, 0]
    assert model.cameras[0].hold.other_focal == pytest.approx(FOCAL, rel=2e-3)
    assert ("held as given" in next(iter(camera_lines(model.cameras)))) == given


def test_given_cameras_are_refined_on_request(tmp_path: Path) -> None:
    model = mapped(fly("orbit", prior=1.01 * FOCAL), tmp_path, True, intrinsics="refine")
    assert focal_of(model) == pytest.approx(FOCAL, rel=2e-3)
    assert model.cameras[0].hold.other_focal == pytest.approx(1.01 * FOCAL)


def test_unknown_focal_lengths_are_always_refined(tmp_path: Path) -> None:
    """The guess is 1,920."""
    model = mapped(fly("orbit", prior=1.2 * 1600, known=False), tmp_path, intrinsics="fixed")
    assert focal_of(model) == pytest.approx(FOCAL, rel=2e-3) and model.cameras[0].hold.other_focal is None


def test_one_known_camera_beside_unknown_ones(workplace: Path, scene: Any) -> None:
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("per-image")))
    with pycolmap.Database.open(workplace / "db.db") as database:
        camera = database.read_camera(1)
        camera.params, camera.has_prior_focal_length = [480, *camera.params[1:]], True
        database.update_camera(camera)
    model = map_database(workplace / "db.db", workplace / "photos", workplace)
    assert len(model.registered) == 6 and model.points >= 200
    assert model.cameras[0].focal == 480 and model.cameras[0].hold.held == "focal"
    for camera in model.cameras[1:]:
        assert camera.hold.held == "nothing" and camera.focal == pytest.approx(480, rel=0.1) and camera.focal != 480


def test_what_is_held_while_mapping(tmp_path: Path) -> None:
    """Wide-angle lenses keep their focal length only: without distortion nothing fits."""
    from astr_cli.sfm.mapping.colmap_mappers import MapperSettings

    database = fly("line").write(tmp_path / "db.db")
    found = calibration(database, "auto").for_mapping(MapperSettings())
    assert found.held == {1} and not found.hold_focals
    wide = fly("line", prior=0.5 * 1600).write(tmp_path / "wide.db")
    found = calibration(wide, "auto").for_mapping(MapperSettings())
    assert not found.held and found.hold_focals
    assert calibration(database, "refine").for_mapping(MapperSettings()) == MapperSettings()


def test_degenerate_sets_of_photos(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    line = np.outer(np.arange(9), [1, 2, 3]) + random.normal(0, 0.01, (9, 3))
    assert on_a_line(line) and not on_a_line(random.normal(size=(9, 3))) and on_a_line(line[:1])
    flat = random.normal(size=(200, 3)) * [10, 10, 0.01]
    assert is_flat(np.vstack([flat, [0, 0, 500.0]])) and not is_flat(flat * [1, 1, 100])
    reasons = {kind: why_degenerate(read_model(mapped(fly(kind), tmp_path).folder), 1) for kind in ("grid", "orbit")}
    assert "in one direction" in reasons["grid"] and not reasons["orbit"]


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [
        ("PINHOLE", (1000, 1000, 500, 400), 0.0),
        ("SIMPLE_RADIAL", (1000, 500, 400, 0.1), 0.041 / 1.041),  # r = 0.64: the corner is seen at r (1 + 0.1 r^2)
        ("SIMPLE_RADIAL", (500, 500, 400, 0.5), 0.0),  # wide
        ("SIMPLE_RADIAL", (1000, 500, 400, -1.0), np.inf),  # no ray leads there
    ],
)
def test_how_far_distortion_moves_the_corner(model: str, params: tuple[float, ...], expected: float) -> None:
    camera = pycolmap.Camera(model=model, width=1000, height=800, params=params)
    assert bend(camera) == pytest.approx(expected, abs=3e-3)
