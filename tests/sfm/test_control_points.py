"""Ground control points: files, adjustment, and the accuracy at check points of simulated flights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.reconstruct_output import model_lines, model_warnings
from astr_cli.options.mapping import MapOptions
from astr_cli.options.option import OptionError
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.mapping.control_adjustment import control_of, triangulated
from astr_cli.sfm.mapping.control_points import ControlError, ControlPoint, read_control
from astr_cli.sfm.mapping.coordinates import CoordinateError
from astr_cli.sfm.mapping.mapper import ModelSummary, camera_centres, map_database
from astr_cli.sfm.reconstruction.summary import plain

from .flights import CHECKS, UTM, Flight, fly

GSD = 0.025  # metres
HEAD = "EPSG:32632\n"
ROW = "1 2 3 10 20 a.jpg p\n"


def mapped(flight: Flight, folder: Path, **options: Any) -> ModelSummary:
    control = flight.write_control(folder / "gcp.txt")
    chosen = {"gcp": control, "gcp_check": CHECKS, **options}
    return map_database(flight.write(folder / "db.db"), folder, folder, MapOptions(**chosen))


@pytest.mark.parametrize("kind", ["grid", "orbit", "line"])
def test_check_points_of_a_flight(kind: Any, tmp_path: Path) -> None:
    """Five control points and five check points of 2 cm, half a pixel; the issue's bar."""
    flight = fly(kind)
    model = mapped(flight, tmp_path)
    assert model.registered == flight.names and model.points >= 200
    assert model.control is not None and model.georeference is None
    count, plane, height = model.control.rms(checks=True)
    assert count == 5 and plane < 3 * GSD and height < 5 * GSD
    assert model.control.rms(checks=False)[0] == 5
    offset = np.array(model.control.offset)
    for name, centre in camera_centres(model.folder).items():
        truth = flight.centres[flight.names.index(name)] + UTM
        assert np.abs(centre + offset - truth).max() < 1, name
    written = json.loads((model.folder / "georeference.json").read_text(encoding="utf-8"))
    assert written["system"] == "EPSG:32632" and written["offset"] == list(model.control.offset)
    assert len(written["residuals"]) == 10
    text = "\n".join(model_lines(model))
    assert "in metres of EPSG:32632, reduced by" in text and "5 check points, RMS 0.0" in text
    assert control_of(json.loads(json.dumps(plain(model.control._asdict())))) == model.control
    assert not [line for line in model_warnings(model) if "weak" in line]


def test_a_line_with_a_refined_focal_length_is_weak(tmp_path: Path) -> None:
    model = mapped(fly("line"), tmp_path, intrinsics="refine")
    assert any("heights and distances of the model are weak" in line for line in model_warnings(model))


def test_a_model_survives_control_points_that_do_not_fit(tmp_path: Path) -> None:
    flight = fly("line")
    text = flight.write_control(tmp_path / "gcp.txt").read_text(encoding="utf-8")
    (tmp_path / "other.txt").write_text(text.replace(".jpg", ".tif"), encoding="utf-8")
    model = mapped(flight, tmp_path, gcp=tmp_path / "other.txt")
    assert model.control is None and model.georeference is not None
    assert any("control points were not used" in line and "at least 3" in line for line in model_warnings(model))


def test_a_point_by_its_marks(tmp_path: Path) -> None:
    flight = fly("orbit", noise=0.01)
    model = read_model(map_database(flight.write(tmp_path / "db.db"), tmp_path, tmp_path).folder)
    image = next(iter(model.images.values()))
    seen = next(each for each in image.get_observation_points2D())
    point = model.point3D(seen.point3D_id)
    marks = [(model.image(e.image_id), model.image(e.image_id).point2D(e.point2D_idx).xy) for e in point.track.elements]
    found = triangulated(model, ControlPoint("p", (0, 0, 0), tuple((i.name, *xy) for i, xy in marks)))
    assert len(marks) > 2 and np.abs(found - point.xyz).max() < 0.02


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gcp.txt"
    path.write_text(
        "# survey\n\nWGS84 UTM 33S\n1 2 3 10.5 20 a.jpg b\n1 2 3 30 40 b.jpg b extra\n4 5 6 1 2 a.jpg a\n"
        "7 8 9 1 2 a.jpg c\n7 8 8 1 2 a.jpg d\n",
        encoding="utf-8",
    )
    found = read_control(path)
    assert found.system.name == "EPSG:32733" and [point.name for point in found.points] == ["a", "b", "c", "d"]
    assert found.points[1] == ControlPoint("b", (1, 2, 3), (("a.jpg", 10.5, 20), ("b.jpg", 30, 40)))
    assert [point.checks for point in found.points] == [False, False, True, False]
    assert [point.checks for point in read_control(path, "a").points] == [True, False, False, False]
    path.write_text("EPSG:32632\n" + "".join(f"{n}\t2\t3\t1\t2\tphoto {n}.jpg\n" for n in range(3)), encoding="utf-8")
    found = read_control(path)
    assert [point.marks[0][0] for point in found.points] == ["photo 0.jpg", "photo 1.jpg", "photo 2.jpg"]
    assert found.points[0].name == "0 2 3" and not any(point.checks for point in found.points)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; the first line names the coordinate system"),
        (HEAD + "1 2 3 4 5\n", "gcp.txt:2: has 5 columns"),
        (HEAD + ROW + "1 2 x 10 20 a.jpg q\n", "gcp.txt:3: the first five columns are numbers"),
        (HEAD + "1 2 nan 10 20 a.jpg q\n", "gcp.txt:2: NaN or infinity is no position"),
        (HEAD + ROW + "1 2 4 10 20 b.jpg p\n", "gcp.txt:3: point p has another position"),
        (HEAD + ROW + "1 2 3 11 20 a.jpg p\n", "gcp.txt:3: point p has two places in a.jpg"),
        (HEAD + ROW, "has 1 control points beside 0 check points, and at least 3 are needed"),
    ],
)
def test_bad_files(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "gcp.txt").write_text(content, encoding="utf-8")
    with pytest.raises(ControlError, match=message) as caught:
        read_control(tmp_path / "gcp.txt")
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no such file"):
        read_control(tmp_path / "none.txt")
    (tmp_path / "gcp.txt").write_text(HEAD + "".join(f"{n} 2 3 1 2 a.jpg p{n}\n" for n in range(4)), encoding="utf-8")
    with pytest.raises(ControlError, match=r"--gcp-check q: .* has no such point; it has p0, p1"):
        read_control(tmp_path / "gcp.txt", "q")
    with pytest.raises(ControlError, match="has 2 control points beside 2 check points"):
        read_control(tmp_path / "gcp.txt", "p0, p1")
    with pytest.raises(OptionError, match="give it with --gcp"):
        MapOptions(gcp_check="p0")


def test_other_systems(tmp_path: Path) -> None:
    """Degrees become metres of the UTM zone; feet are refused."""
    pytest.importorskip("pyproj")
    rows = "".join(f"9.0{n} 46.5 3 1 2 a.jpg p{n}\n" for n in range(3))
    (tmp_path / "gcp.txt").write_text(f"EPSG:4326\n{rows}", encoding="utf-8")
    found = read_control(tmp_path / "gcp.txt")
    assert found.system.name == "EPSG:32632"
    assert found.points[0].position == pytest.approx((500000, 5149603.4, 3), abs=0.1)  # 0.9996 of the arc
    for text, message in (("EPSG:2263", "is not in metres or degrees"), ("nonsense", "is no coordinate system")):
        (tmp_path / "gcp.txt").write_text(f"{text}\n{rows}", encoding="utf-8")
        with pytest.raises(CoordinateError, match=message):
            read_control(tmp_path / "gcp.txt")
