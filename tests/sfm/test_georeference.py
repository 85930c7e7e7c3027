"""Models in metres: which way is up, and when that is not known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.reconstruct_output import model_warnings
from astr_cli.cli.survey_output import place_text
from astr_cli.images.gimbal import view_direction
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import map_database

from .test_mapping import write_places

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a drone-dji:GimbalYawDegree="{}" drone-dji:GimbalPitchDegree="{}"/></x>'


def write_gimbal(path: Path, size: tuple[int, int], pitch: float, yaw: float) -> None:
    """A JPEG with the angles where DJI has them."""
    Image.new("L", size, 128).save(path, "JPEG")
    packet = b"http://ns.adobe.com/xap/1.0/\0" + XMP.format(f"{yaw:+.2f}", f"{pitch:+.2f}").encode()
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(packet) + 2).to_bytes(2, "big") + packet + data[2:])


def test_view_direction(tmp_path: Path) -> None:
    write_gimbal(tmp_path / "a.jpg", (64, 64), -90, 30)
    assert view_direction(tmp_path / "a.jpg") == pytest.approx((0, 0, -1), abs=1e-9)
    write_gimbal(tmp_path / "a.jpg", (64, 64), 0, 90)
    assert view_direction(tmp_path / "a.jpg") == pytest.approx((1, 0, 0), abs=1e-9)
    Image.new("L", (64, 64)).save(tmp_path / "b.jpg")
    assert view_direction(tmp_path / "b.jpg") is None
    assert view_direction(tmp_path / "none.jpg") is None


@pytest.fixture
def on_a_line(workplace: Path, scene: Any) -> Path:
    """A verified database with GPS positions along a line from west to east."""
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    write_places(workplace / "db.db", {name: 3 * centre * [1, 0, 0] for name, centre in scene.centres.items()})
    return workplace / "db.db"


def views(scene: Any) -> dict[str, np.ndarray]:
    """Of the true cameras, as (east, north, up) for y down and z north."""
    return {name: camera.R[2][[0, 2, 1]] * [1, 1, -1] for name, camera in zip(scene.names, scene.cameras, strict=True)}


def test_photos_on_a_line_have_no_height(on_a_line: Path, workplace: Path) -> None:
    model = map_database(on_a_line, workplace / "photos", workplace)
    place = model.georeference
    assert place is not None and place.on_a_line and not place.upright
    text = place_text(place)
    assert "tilt is arbitrary, so z is not the height" in text and " up " not in text
    assert any("tilt about it is arbitrary" in warning for warning in model_warnings(model))


@pytest.mark.parametrize("offset", [0.0, 60.0])
def test_the_gimbal_tells_the_tilt(on_a_line: Path, workplace: Path, scene: Any, offset: float) -> None:
    """Unless what it says fits no turn of the model: here its yaw is off by 60 degrees."""
    told = views(scene)
    for name, view in told.items():
        pitch, yaw = math.degrees(math.asin(view[2])), math.degrees(math.atan2(view[0], view[1]))
        write_gimbal(workplace / "photos" / name, (512, 384), pitch, yaw + offset)
    model = map_database(on_a_line, workplace / "photos", workplace)
    place = model.georeference
    assert place is not None and place.on_a_line and place.upright == (not offset)
    if offset:
        return
    assert "east, north and up" in place_text(place) and "gimbal" in place_text(place)
    assert not list(model_warnings(model))
    made = read_model(workplace / "0")
    found = {made.image(number).name: made.image(number).viewing_direction() for number in made.reg_image_ids()}
    assert len(found) == 6
    for name, view in found.items():
        assert np.dot(view, told[name]) > math.cos(math.radians(10)), name
