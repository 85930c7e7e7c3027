"""Standard deviations of a model, beside its errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.reconstruct_output import model_lines
from astr_cli.cli.survey_output import precision_warnings
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.mapping.mapper import ModelSummary, camera_centres, map_database
from astr_cli.sfm.mapping.precision import PhotoPrecision, Precision, centre_slopes, precision_of
from astr_cli.sfm.reconstruction.summary import plain

from .flights import CHECKS, UTM, Flight, fly


def mapped(flight: Flight, folder: Path, **options: Any) -> ModelSummary:
    (folder / "db.db").unlink(missing_ok=True)
    return map_database(flight.write(folder / "db.db"), folder, folder, MapOptions(**options))


@pytest.mark.parametrize("seed", [0, 1])
def test_standard_deviations_are_those_of_the_errors(seed: int, tmp_path: Path) -> None:
    """In the frame of exact control points, over 24 photos."""
    flight = replace(fly("grid"), seed=seed)
    control = flight.write_control(tmp_path / "gcp.txt", noise=0.0)
    model = mapped(flight, tmp_path, gcp=control, gcp_check=CHECKS, intrinsics="fixed")
    found = model.precision
    assert found is not None and found.frame == "control points" and model.control is not None
    assert found.sigma == pytest.approx(0.5, rel=0.1) and found.gsd == pytest.approx(0.025, rel=0.05)
    centres = camera_centres(model.folder)
    ratios = []
    for photo in found.photos:
        truth = flight.centres[flight.names.index(photo.name)] + UTM - model.control.offset
        assert photo.position is not None and photo.rotation is not None and photo.rotation < 0.5
        ratios.append(np.linalg.norm(centres[photo.name] - truth) / photo.position)
    assert len(ratios) == 24 and 0.5 < np.sqrt(np.mean(np.square(ratios))) < 1.7


def test_frames_of_gps_and_of_two_photos(tmp_path: Path) -> None:
    flight = fly("line", gps=0.2)
    model = mapped(flight, tmp_path)
    assert model.precision is not None and model.precision.frame == "two photos"
    text = "\n".join(model_lines(model))
    assert "ground sample distance 0.025" in text and "relative to two photos" in text
    assert precision_of(json.loads(json.dumps(plain(model.precision._asdict())))) == model.precision
    with_gps = mapped(flight, tmp_path, gps="prior", gps_accuracy=0.2).precision
    assert with_gps is not None and with_gps.frame == "GPS"
    assert all(photo.position is not None and photo.position < 1 for photo in with_gps.photos)


def test_the_slopes_of_a_centre() -> None:
    """Beside differences."""
    random = np.random.default_rng(0)
    turn, translation = pycolmap.Rotation3d(random.normal(size=3)), random.normal(size=3)
    slopes = centre_slopes(turn.matrix(), translation)
    step = 1e-6 * random.normal(size=6)
    moved = pycolmap.Rotation3d(2 * step[:3]) * turn  # half of the angle
    change = -moved.matrix().T @ (translation + step[3:]) + turn.matrix().T @ translation
    assert np.allclose(change, slopes @ step, atol=1e-11)


def test_weak_photos_are_named() -> None:
    photos = [PhotoPrecision(f"{number}.jpg", 100, 0.1, 0.01) for number in range(5)]
    photos += [PhotoPrecision("few.jpg", 5, 0.1, 0.01), PhotoPrecision("far.jpg", 100, 0.4, 0.01)]
    found = Precision("GPS", 0.5, (0.1, 0.1, 0.2), 0.02, (*photos, PhotoPrecision("held.jpg", 100, None, None)))
    assert [photo.name for photo in found.weak] == ["few.jpg", "far.jpg"]
    (line,) = precision_warnings(found)
    assert line.startswith("2 photos with few points, or three times less precise than the others: few.jpg (5 points)")
