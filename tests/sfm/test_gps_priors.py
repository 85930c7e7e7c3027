"""GPS positions inside the adjustment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.reconstruct_output import model_lines
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.colmap import open_database
from astr_cli.sfm.mapping.mapper import ModelSummary, map_database
from astr_cli.sfm.mapping.priors import GpsError, precision, write_priors

from .flights import SIZE, Flight, fly, write_tags


def mapped(flight: Flight, folder: Path, **options: Any) -> ModelSummary:
    folder.mkdir(exist_ok=True)
    return map_database(flight.write(folder / "db.db"), folder, folder, MapOptions(**options))


def test_priors_are_metres_with_the_precision_of_each_photo(tmp_path: Path) -> None:
    flight = fly("line", gps=0.0)
    write_tags(tmp_path / flight.names[0], -90, 0, 50, rtk=0.02)
    exif = Image.Exif()
    exif.get_ifd(0x8825).update({1: "N", 2: (46.0, 30.0, 0.0), 3: "E", 4: (8.0, 0.0, 0.0), 31: 3.5})
    Image.new("L", SIZE).save(tmp_path / flight.names[1], exif=exif)
    told = write_priors(flight.write(tmp_path / "db.db"), tmp_path / "priors.db", tmp_path, None)
    assert told == (12, 2)
    with open_database(tmp_path / "priors.db") as opened:
        priors = {prior.corr_data_id.id: prior for prior in opened.read_all_pose_priors()}
    sigmas = [np.sqrt(np.diag(priors[number].position_covariance)) for number in (1, 2, 3)]
    assert np.allclose(sigmas, [[0.02, 0.02, 0.04], [3.5, 3.5, 7.0], [5, 5, 10]])
    found = np.array([priors[number].position.ravel() for number in range(1, 13)])
    assert np.abs((found - found[0]) - (flight.centres - flight.centres[0])).max() < 0.01
    assert precision(tmp_path, "none.jpg") is None
    write_priors(tmp_path / "db.db", tmp_path / "priors.db", tmp_path, 0.7)
    with open_database(tmp_path / "priors.db") as opened:
        assert all(np.allclose(each.position_covariance, 0.49 * np.eye(3)) for each in opened.read_all_pose_priors())


@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_precise_positions_unbend_a_model(mapper: Any, tmp_path: Path) -> None:
    """The held focal length is 3% too long, which bends a model along a line; the places do not bend."""
    flight = fly("line", gps=0.02, prior=1.03 * 2000)
    aligned = mapped(flight, tmp_path / "align", mapper=mapper).georeference
    model = mapped(flight, tmp_path / "prior", gps="prior", gps_accuracy=0.02, mapper=mapper)
    place = model.georeference
    assert aligned is not None and place is not None and model.points >= 200
    assert place.inside and not aligned.inside
    assert place.median_error < 0.6 * aligned.median_error
    assert "GPS took part in the adjustment" in "\n".join(model_lines(model))


def test_positions_are_ignored_on_request(tmp_path: Path) -> None:
    assert mapped(fly("line"), tmp_path, gps="none").georeference is None


def test_too_few_positions(tmp_path: Path) -> None:
    database = fly("line").write(tmp_path / "db.db")
    with open_database(database) as opened:
        kept = opened.read_all_pose_priors()[:2]
        opened.clear_pose_priors()
        for prior in kept:
            opened.write_pose_prior(prior)
    with pytest.raises(GpsError, match="2 photos have a GPS position, and at least 3 are needed"):
        map_database(database, tmp_path, tmp_path, MapOptions(gps="prior"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db.db"]
