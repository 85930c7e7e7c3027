"""Heights of a model beside those of the drone, and when a model is not to be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from astr_cli.cli.reconstruct_output import model_lines, model_warnings
from astr_cli.images.drone import DroneTags, drone_tags
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.mapping.mapper import ModelSummary, map_database

from .flights import HEIGHT, Flight, fly, write_tags


def mapped(flight: Flight, folder: Path, height: float = HEIGHT) -> ModelSummary:
    flight.write_photos(folder, height)
    return map_database(flight.write(folder / "db.db"), folder, folder, MapOptions())


def test_tags_of_a_drone(tmp_path: Path) -> None:
    write_tags(tmp_path / "a.jpg", -90, 45, 39.8, 0.01)
    assert drone_tags(tmp_path / "a.jpg") == DroneTags(-90, 45, 39.8, (0.01, 0.01, 0.02))
    write_tags(tmp_path / "a.jpg", -90, 45, 39.8, 0.0)
    assert drone_tags(tmp_path / "a.jpg").precision is None
    assert drone_tags(tmp_path / "none.jpg") == DroneTags()


def test_a_line_of_nadir_photos_has_heights_by_gimbal_and_gps(tmp_path: Path) -> None:
    model = mapped(fly("line", gps=0.2), tmp_path)
    assert len(model.registered) == 12 and model.points >= 200
    assert model.heights is not None and model.heights.consistent and model.heights.photos == 12
    assert model.heights.found == pytest.approx(HEIGHT, rel=0.05)
    place = model.georeference
    assert place is not None and place.upright and place.scale_error < 0.01
    assert max(place.east, place.north, place.up) < 0.5
    text = "\n".join(model_lines(model))
    assert "above the ground, which agrees with the 50.0 m of RelativeAltitude within" in text
    assert "tilt about the line of flight from the gimbal's angles" in text and "scale from GPS to" in text
    assert not list(model_warnings(model))


def test_a_model_of_wrong_heights_is_not_praised(tmp_path: Path) -> None:
    """GPS fits as well as ever."""
    model = mapped(fly("line", gps=0.2), tmp_path, height=0.7 * HEIGHT)
    assert model.heights is not None and not model.heights.consistent
    text = "\n".join(model_lines(model))
    assert "do not measure in it" in text and "within 10 m" not in text and "in metres" not in text
    assert any(
        line.startswith("heights of the model are wrong, unless the ground is lower") for line in model_warnings(model)
    )


def test_views_of_the_horizon_have_no_heights(tmp_path: Path) -> None:
    """An orbit looks down by 45 degrees: the middle of the photo is not below the camera."""
    assert mapped(fly("orbit"), tmp_path).heights is None
