"""Models in metres: which way is up, and when that is not known."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.reconstruct_output import model_warnings
from astr_cli.cli.survey_output import place_text
from astr_cli.images.gimbal import view_direction
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.coordinates import utm_grid
from astr_cli.sfm.mapping.georeference import georeference_of
from astr_cli.sfm.mapping.mapper import camera_centres, map_database
from astr_cli.sfm.reconstruction.summary import plain

from .flights import ORIGIN, fly
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


def utm_of(latitude: float, longitude: float) -> tuple[float, float]:
    """Easting and northing in zone 32, by the classical series in the difference of longitude."""
    axis, flat, scale = 6378137.0, 1 / 298.257223563, 0.9996
    square = flat * (2 - flat)
    phi, away = math.radians(latitude), math.radians(longitude - 9) * math.cos(math.radians(latitude))
    radius = axis / math.sqrt(1 - square * math.sin(phi) ** 2)
    tangent, eta = math.tan(phi) ** 2, square / (1 - square) * math.cos(phi) ** 2
    steps = np.linspace(0, phi, 20001)
    curved = axis * (1 - square) / (1 - square * np.sin(steps) ** 2) ** 1.5
    arc = float((curved[1:] + curved[:-1]).sum() / 2 * (steps[1] - steps[0]))
    east = radius * (away + (1 - tangent + eta) * away**3 / 6)
    north = arc + radius * math.sqrt(tangent) * (away**2 / 2 + (5 - tangent + 9 * eta) * away**4 / 24)
    return 500_000 + scale * east, scale * north


def test_a_model_by_gps_is_in_utm(tmp_path: Path) -> None:
    """With pyproj: easting, northing and height of the photos, after the offset is added."""
    pytest.importorskip("pyproj")
    flight = fly("orbit", gps=0.01, points=400)
    model = map_database(flight.write(tmp_path / "db.db"), tmp_path, tmp_path)
    place, written = model.georeference, json.loads((model.folder / "georeference.json").read_text(encoding="utf-8"))
    assert place is not None and place.grid is not None
    assert written["system"] == "EPSG:32632" and written["offset"] == list(place.grid.offset)
    made = camera_centres(model.folder)
    known = pycolmap.GPSTransform().enu_to_ellipsoid(flight.centres, *ORIGIN)
    for name, (latitude, longitude, altitude) in zip(flight.names, known, strict=True):
        there = np.array([*utm_of(latitude, longitude), altitude])
        assert np.abs(np.array(made[name]) + place.grid.offset - there).max() < 0.05, name
    assert georeference_of(json.loads(json.dumps(plain(place._asdict())))) == place
    assert "axes of EPSG:32632" in place_text(place)


def test_without_pyproj_a_model_keeps_the_plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    flight = fly("orbit", gps=0.01, points=400)
    model = map_database(flight.write(tmp_path / "db.db"), tmp_path, tmp_path)
    place = model.georeference
    assert place is not None and place.grid is None and utm_grid(46.5, 8.0, 0.0) is None
    assert georeference_of(json.loads(json.dumps(plain(place._asdict())))) == place


def test_places_without_a_grid() -> None:
    pytest.importorskip("pyproj")
    assert utm_grid(85.0, 8.0, 0.0) is None
    south = utm_grid(-33.0, 151.0, 10.0)
    assert south is not None and south.system == "EPSG:32756" and south.offset[2] == 10.0
    middle = utm_grid(46.5, 9.0, 0.0)  # of the zone, where both norths are the same
    assert middle is not None and abs(middle.turn) < 1e-6 and middle.scale == pytest.approx(0.9996, abs=1e-6)
