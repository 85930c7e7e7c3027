"""The cameras of the surveyed scenes, with simulated matches: issue 2's bar for mapping, without any weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
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


@pytest.mark.slow
def test_the_focal_length_of_a_query_is_estimated(tmp_path: Path, capfd: Any) -> None:
    """Photos and matches as they are, at 320 pixels: a query without EXIF, found by retrieval in a model of five."""
    folder = SCENES / "fountain-P11"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    truth = json.loads((folder / "gt.json").read_text())["images"]
    names, query = sorted(truth)[:6], sorted(truth)[2]
    for name in names:
        place = tmp_path / ("queries" if name == query else "photos")
        place.mkdir(exist_ok=True)
        shutil.copy(folder / "images" / name, place)
    (fx, _, cx), (_, fy, cy), _ = truth[query]["K"]
    width, height = truth[query]["size"]
    (tmp_path / "cameras.txt").write_text(f"1 PINHOLE {width} {height} {fx} {fy} {cx + 0.5} {cy + 0.5}\n")
    photos, small = str(tmp_path / "photos"), ["--long-side", "320"]
    known = ["--cameras", str(tmp_path / "cameras.txt"), "--no-report"]
    assert run(["reconstruct", photos, "--out", str(tmp_path / "out"), *known, *small]) == 0
    capfd.readouterr()
    places = ["--model", str(tmp_path / "out" / "sparse" / "0"), "--images", photos, "--out", str(tmp_path / "found")]
    assert run(["localize", str(tmp_path / "queries"), *places, *small, "--neighbours", "3", "--json"]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (found,) = [line for line in lines if line["event"] == "localized"]
    assert found["name"] == query and found["inliers"] > 200
    assert found["focal"] == pytest.approx((fx + fy) / 2, rel=0.03)
