"""`--refine model`: the observations of a model refined by its surfaces, on rendered photos with known cameras."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.refinement import TrackRefineOptions
from astr_cli.refine.rules import Summary
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, copied
from astr_cli.sfm.mapping.mapper import map_database
from astr_cli.sfm.mapping.model_refinement import ModelRefiner, better, observations, stricter, write_refined
from astr_cli.sfm.reconstruction import reconstruct as module
from astr_cli.sfm.tracks.match_rows import MatchedImage
from astr_cli.sfm.tracks.refinement import PhotoPixels

from .conftest import Scene
from .foreign_databases import files
from .rendered import rendered
from .test_reconstruct import error_of, stand_in

HEADER = 100  # bytes of SQLite's, which change whenever COLMAP opens a database


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/, matches.h5, db.db of unrefined tracks and the model 0 of it."""
    folder = tmp_path_factory.mktemp("rendered")
    rendered(folder)
    options = ImportOptions(
        folder / "db.db", cameras=CameraOptions("single"), refinement=TrackRefineOptions(refine="off")
    )
    import_matches(options)
    map_database(folder / "db.db", folder / "photos", folder)
    return folder


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The scene of `place`."""
    return rendered(tmp_path_factory.mktemp("scene"))


def keypoints(database: Path) -> dict[int, np.ndarray]:
    """(K, 2) of each image, as COLMAP has them."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT image_id, rows, data FROM keypoints").fetchall()
    return {number: np.frombuffer(data, "<f4").reshape(count, -1)[:, :2] for number, count, data in rows}


def inliers(database: Path) -> dict[int, np.ndarray]:
    """(M, 2) of each pair with a geometry."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT pair_id, data FROM two_view_geometries WHERE rows > 0").fetchall()
        counts = dict(connection.execute("SELECT pair_id, rows FROM two_view_geometries"))
    found = {pair: np.frombuffer(data, "<u4").reshape(-1, 2) for pair, data in rows}
    assert all(len(found[pair]) == counts[pair] for pair in found)
    return found


def test_a_model_is_refined_by_its_surfaces(place: Path, wall: Scene, tmp_path: Path) -> None:
    images = wall.rows().images
    refiner = ModelRefiner(images, PhotoPixels(place / "photos", images, None), "mixed")
    content = (place / "db.db").read_bytes()[HEADER:]
    told: list[str] = []
    (tmp_path / "out").mkdir()
    plain = read_model(place / "0")
    found = map_database(place / "db.db", place / "photos", tmp_path / "out", None, told.append, refiner=refiner)
    assert found.missing == () and found.points >= 0.9 * plain.num_points3D() >= 200
    # The matcher's noise is 0.6 pixels on each axis.
    assert found.reprojection_error < 0.5 * plain.compute_mean_reprojection_error()
    assert error_of(tmp_path / "out" / "0", wall.centres) < 0.5 * error_of(place / "0", wall.centres)
    assert told[0] == "refining a model" and "px in the median" in told[-1]
    assert (place / "db.db").read_bytes()[HEADER:] == content
    assert files(tmp_path / "out") == ["0"]


def test_observations_are_keypoints_in_the_convention_of_astr(place: Path, wall: Scene) -> None:
    model, stored = read_model(place / "0"), keypoints(place / "db.db")
    found = observations(model, wall.rows().images)
    seen = found.seen
    assert len(found.points) == model.num_points3D() and (seen.pixel == 2).all()
    assert np.array_equal(np.unique(seen.track), np.arange(len(found.points)))
    for photo, number in enumerate(found.images):
        mine = seen.photo == photo
        assert len(np.unique(seen.track[mine])) == mine.sum()
        assert np.abs(stored[number][found.keypoint[mine]] - 0.5 - seen.xy[mine]).max() < 1e-3
    points = [model.point3D(number).xyz for number in sorted(model.point3D_ids())]
    assert np.array_equal(found.points, points)


def test_keypoints_move_and_dropped_ones_leave_the_geometries(place: Path, wall: Scene, tmp_path: Path) -> None:
    database = shutil.copyfile(place / "db.db", tmp_path / "db.db")
    before, pairs = keypoints(database), inliers(database)
    found = observations(read_model(place / "0"), wall.rows().images)
    stays = np.arange(len(found.seen.xy)) % 3 > 0
    write_refined(database, found, found.seen.xy + 2, stays)
    after = keypoints(database)
    for photo, number in enumerate(found.images):
        moved = np.zeros(len(before[number]), bool)
        moved[found.keypoint[found.seen.photo == photo]] = True
        assert np.abs(after[number] - before[number] - 2 * moved[:, None]).max() < 1e-3
    gone = {
        number: set(found.keypoint[(found.seen.photo == photo) & ~stays]) for photo, number in enumerate(found.images)
    }
    left = inliers(database)
    for pair, rows in pairs.items():
        ends = gone[pair // 2147483647], gone[pair % 2147483647]
        expected = [row.tolist() for row in rows if row[0] not in ends[0] and row[1] not in ends[1]]
        assert left[pair].tolist() == expected and 0 < len(expected) < len(rows)


@pytest.mark.parametrize(("factor", "limit"), [(2, 2.0), (10, 4.0)])
def test_thresholds_follow_the_matched_size_and_a_user_wins(factor: int, limit: float) -> None:
    images = [MatchedImage("a.png", (640 * factor, 480 * factor), (640, 480))]
    name = "mapper.filter_max_reproj_error"
    found = stricter(MapperSettings(3, (f"{name}=7",)), images)
    assert found.seed == 3 and found.options[0] == f"{name}={limit:.6f}" and found.options[-1] == f"{name}=7"
    options = pycolmap.IncrementalPipelineOptions()
    assert options.mapper.filter_max_reproj_error == 4.0  # COLMAP's own, the upper limit here
    assert options.triangulation.complete_max_reproj_error == options.triangulation.merge_max_reproj_error == 4.0


def test_a_worse_model_is_not_taken(place: Path) -> None:
    done, told = Summary(1, 2, 3, 4, 0.5, 0.1), list[str]()
    first = read_model(place / "0")
    first.update_point_3d_errors()
    fewer, looser = copied(first), copied(first)
    for point in sorted(fewer.point3D_ids(), key=lambda number: -fewer.point3D(number).error)[
        : len(fewer.points3D) // 5
    ]:
        fewer.delete_point3D(point)
    for point in looser.points3D.values():
        point.error *= 2
    assert fewer.compute_mean_reprojection_error() < first.compute_mean_reprojection_error()
    assert better(first, fewer, done, told.append) is first
    assert better(first, looser, done, told.append) is first
    assert all("the model before is better and stays" in line for line in told)
    assert better(looser, first, done, told.append) is first
    assert "2 keypoints by 0.50 px in the median, 3 left, 4 dropped" in told[-1]


def test_reconstruct_refines_by_the_model_once(
    place: Path, wall: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(module, "match_pairs", stand_in(wall, []))
    command = ["reconstruct", str(place / "photos"), "--out", str(tmp_path / "out"), "--camera-mode", "single"]
    assert run([*command, "--refine", "tracks"]) == 0
    by_tracks = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["model"]
    assert "refined by the model" not in capfd.readouterr().err
    assert run([*command, "--refine", "model"]) == 0
    told = capfd.readouterr().err
    assert "refined by the model" in told and "1 earlier model replaced" in told
    by_model = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["model"]
    assert by_model["missing"] == [] and by_model["reprojection_error"] <= by_tracks["reprojection_error"]
    # Nothing is done again; another rule is another import and another model.
    assert run([*command, "--refine", "model"]) == 0
    assert "up to date, not mapped again" in capfd.readouterr().err
    assert 'refine = "model"' in (tmp_path / "out" / "options.toml").read_text(encoding="utf-8")
    assert run([*command, "--refine", "model", "--refine-rule", "keep"]) == 0
    assert "1 earlier model replaced" in capfd.readouterr().err


@pytest.mark.parametrize("options", [["--refine"], ["--refine", "--quiet"], ["--quiet", "--refine"]])
def test_the_flag_of_before_is_refused_with_the_new_spelling(options: list[str], tmp_path: Path, capfd: Any) -> None:
    assert run(["reconstruct", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 2
    said = capfd.readouterr().err
    assert "--refine takes off, tracks or model now; give --refine model" in said and said.count("\n") == 1
    (tmp_path / "o.toml").write_text("refine = false\n")
    assert (
        run(["reconstruct", str(tmp_path), "--out", str(tmp_path / "out"), "--config", str(tmp_path / "o.toml")]) == 2
    )
    said = capfd.readouterr().err
    assert "--refine takes off, tracks or model now" in said and said.count("\n") == 1
    assert files(tmp_path) == ["o.toml"]


def test_an_import_knows_no_model(tmp_path: Path, capfd: Any) -> None:
    assert run(["colmap-import", str(tmp_path / "db.db"), "--refine", "model"]) == 2
    said = capfd.readouterr().err
    assert "'model' is not one of 'off', 'tracks'" in said and said.count("\n") == 1
