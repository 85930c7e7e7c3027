"""Known cameras and the photos that they fit: one rule for matching and for databases."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.cli.app import run
from astr_cli.images.info import plausible_focal
from astr_cli.matching.photos.known_cameras import known_cameras, same_shape, scaled_camera
from astr_cli.store.camera_models import MODELS, Camera
from astr_cli.store.cameras import CamerasError, read_cameras


def assigned(folder: Path, text: str, sizes: dict[str, tuple[int, int]]) -> Any:
    (folder / "cameras.txt").write_text(text)
    return known_cameras(read_cameras(folder / "cameras.txt"), sizes)


def test_a_camera_of_the_shape_is_scaled_and_told(tmp_path: Path) -> None:
    line = "1 OPENCV 4000 3000 3000 3100 2000 1490 0.1 0.02 0.003 0.004\n"
    found = assigned(tmp_path, line, {"a.jpg": (1000, 750), "b.jpg": (480, 640)})
    assert found.cameras == {"a.jpg": Camera("OPENCV", 1000, 750, (750, 775, 500, 372.5, 0.1, 0.02, 0.003, 0.004), 1)}
    assert found.notes[0].endswith(
        "camera 1 is 4000x3000; astr scales it to the size of the photos, for example a.jpg (1000x750; 1 photo in all)"
    )


def test_a_photo_of_another_size_gets_no_camera_of_a_mixed_set(tmp_path: Path) -> None:
    """It may be of another camera: one that fits exactly says that the file is meant for these sizes."""
    found = assigned(tmp_path, "1 SIMPLE_PINHOLE 400 300 300 200 150\n", {"a.jpg": (400, 300), "b.jpg": (800, 600)})
    assert list(found.cameras) == ["a.jpg"] and not found.notes


def test_named_cameras_are_scaled_or_refused(tmp_path: Path) -> None:
    text = "1 SIMPLE_PINHOLE 400 300 300 200 150\n# IMAGE 1 a.jpg\n# IMAGE 1 b.jpg\n"
    found = assigned(tmp_path, text, {"a.jpg": (400, 300), "b.jpg": (800, 600), "c.jpg": (400, 300)})
    assert {name: camera.params for name, camera in found.cameras.items()} == {
        "a.jpg": (300, 200, 150),
        "b.jpg": (600, 400, 300),
    }
    with pytest.raises(
        CamerasError, match=r"camera 1 of b\.jpg is 400x300, but the photo is 300x400, which is another"
    ):
        assigned(tmp_path, text, {"b.jpg": (300, 400)})


@pytest.mark.parametrize("focal", ["0.9", "13", "870000"])
def test_a_focal_length_that_cannot_be_is_unknown(tmp_path: Path, focal: str) -> None:
    """Case 12."""
    found = assigned(tmp_path, f"1 PINHOLE 480 320 {focal} {focal} 0.5 0.33\n", {"a.jpg": (480, 320)})
    assert not found.cameras
    assert f"camera 1: a focal length of {float(focal):.4g} pixels cannot be for photos of 480x320" in found.notes[0]


def test_match_refuses_and_tells_as_the_import_does(scene: Any, tmp_path: Path, capfd: Any) -> None:
    cameras = tmp_path / "cameras.txt"
    cameras.write_text("1 PINHOLE 1000 100 500 500 500 50\n")
    command = scene.arguments("m.h5", "--cameras", str(cameras))
    assert run(command) == 2
    assert "has no camera for any of the photos" in capfd.readouterr().err
    assert not (tmp_path / "m.h5").exists()
    cameras.write_text("1 PINHOLE 160 128 0.9 0.9 0.5 0.33\n")
    assert run(command) == 0
    said = capfd.readouterr().err
    assert "a focal length of 0.9 pixels cannot be" in said and "known for 0 of 6" in said


SIDES = st.integers(200, 8000)


@given(SIDES, SIDES, st.floats(0.1, 1))
def test_a_photo_made_smaller_keeps_its_shape(width: int, height: int, factor: float) -> None:
    for rounded in (round, int):
        small = (max(1, rounded(width * factor)), max(1, rounded(height * factor)))
        if small[0] >= 20 and small[1] >= 20:
            larger_first = abs(small[0] * height / width - small[1])
            assert same_shape((width, height), small) or larger_first > 1
    assert same_shape((width, height), (width, height))


@pytest.mark.parametrize("model", sorted(MODELS))
def test_scaled_cameras_see_the_same(model: str) -> None:
    """Against pycolmap: a pixel of the large photo and the same place of the small one are of one ray."""
    pycolmap = pytest.importorskip("pycolmap")
    if model not in pycolmap.CameraModelId.__members__:
        pytest.skip("an older COLMAP")
    make = getattr(pycolmap.Camera, "create_from_model_id", pycolmap.Camera.create)
    made = make(0, getattr(pycolmap.CameraModelId, model), 700.0, 1000, 600)
    camera = Camera(model, 1000, 600, tuple(float(value) for value in made.params))
    small = scaled_camera(camera, (500, 300))
    if not MODELS[model].focals:
        assert small.params == (500, 300)
        return
    other = pycolmap.Camera(model=model, width=500, height=300, params=list(small.params))
    for pixel in ((500.0, 300.0), (130.0, 420.0), (900.0, 80.0)):
        first, second = made.cam_from_img(np.array(pixel)), other.cam_from_img(np.array(pixel) / 2)
        np.testing.assert_allclose(first, second, atol=1e-9)


def test_what_can_be_a_focal_length() -> None:
    assert plausible_focal(8 / 43.27 * 1250, 1000, 750)  # a fisheye
    assert plausible_focal(3000 / 43.27 * 1250, 1000, 750)  # a bridge camera's longest
    assert not plausible_focal(1 / 43.27 * 1250, 1000, 750)
    assert not plausible_focal(65535 / 43.27 * 1250, 1000, 750)
