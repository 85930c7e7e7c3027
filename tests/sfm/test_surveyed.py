"""The cameras of the surveyed scenes, with simulated matches: issue 2's bar for mapping, without any weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.options.database import ImportOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import camera_centres, map_database

SCENES = Path(__file__).parents[3] / "shared" / "data" / "scenes"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "distance"), [("fountain-P11", 9.0), ("entry-P10", 18.0)])
def test_all_photos_register_at_the_surveyed_places(name: str, distance: float, tmp_path: Path, simulate: Any) -> None:
    """Photos without EXIF: a camera each, and COLMAP's guess of the focal length, off by a third."""
    folder = SCENES / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    truth = json.loads((folder / "gt.json").read_text())["images"]
    pairs = [(pair.name0, pair.name1) for pair in read_pairs(folder / "pairs.txt").pairs]
    scene = simulate(truth, pairs, distance)
    scene.write(tmp_path / "matches.h5")
    summary = import_matches(ImportOptions(tmp_path / "db.db", images=folder / "images"))
    assert (summary.cameras, summary.known_focals) == (len(truth), 0)
    assert summary.verified.pairs == len(pairs)
    assert summary.median_track > 2
    model = map_database(tmp_path / "db.db", folder / "images", tmp_path)
    assert model.missing == ()
    assert model.points >= 3000
    centres = camera_centres(model.folder)
    expected = {camera: -np.array(v["R"]).T @ np.array(v["t"]) for camera, v in truth.items()}
    found = np.array([centres[camera] for camera in truth])
    assert centre_error(found, np.array([expected[camera] for camera in truth])) < 0.01
