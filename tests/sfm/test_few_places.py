"""Two photos, cameras that only turn or stand still, and the reasons for photos that were not registered."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import MappingError, map_database
from astr_cli.sfm.mapping.unregistered import unregistered
from astr_cli.sfm.reconstruction import reconstruct as module

from .conftest import Camera, arc, make_scene
from .foreign_databases import execute
from .test_reconstruct import stand_in

SIZE, FOCAL = (512, 384), 480


def place(scene: Any, folder: Path) -> Path:
    """matches.h5, photos/ and a verified database of one camera."""
    scene.write_photos(folder / "photos")
    scene.write(folder / "matches.h5")
    import_matches(ImportOptions(folder / "db.db", cameras=CameraOptions("single")))
    return folder / "db.db"


@pytest.mark.parametrize("mapper", ["incremental", "global"])
def test_two_photos_make_a_model(mapper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Case 17."""
    two = make_scene(("a.png", "b.png"), arc(6, SIZE, FOCAL)[2:4], [(0, 1)], 320, 9.0, coarse=300, outliers=0.05)
    assert len(two.matches[0]) >= 200
    two.write_photos(tmp_path / "photos")
    monkeypatch.setattr(module, "match_pairs", stand_in(two, []))
    command = ["reconstruct", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--camera-mode", "single"]
    assert run([*command, "--mapper", mapper]) == 0
    assert "2 of 2 photos registered" in capfd.readouterr().out
    model = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))["model"]
    assert model["points"] >= 200 and model["reprojection_error"] < 1.5


def turned(count: int, step: float) -> list[Camera]:
    """A camera on a tripod; step: radians from one photo to the next."""
    first = arc(6, SIZE, FOCAL)[2]
    cameras = []
    for angle in (np.arange(count) - count / 2) * step:
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        R = turn @ first.R
        cameras.append(Camera(first.K, R, -R @ first.centre, SIZE))
    return cameras


@pytest.mark.parametrize("step", [0.07, 0.0])
def test_a_camera_that_only_turned_or_did_not_move(step: float, tmp_path: Path) -> None:
    """Case 04."""
    names = ("a.png", "b.png", "c.png", "d.png")
    pairs = list(itertools.combinations(range(4), 2))
    scene = make_scene(names, turned(4, step), pairs, 320, 9.0, coarse=300, outliers=0.02)
    assert all(len(found) >= 200 for found in scene.matches)
    database = place(scene, tmp_path)
    with pytest.raises(MappingError, match=r"the camera only turned or did not move .*: take photos from other places"):
        map_database(database, tmp_path / "photos", tmp_path, MapOptions())


def test_reasons(scene: Any, tmp_path: Path) -> None:
    database = place(scene, tmp_path)
    ids = {name: number for number, name in enumerate(sorted(scene.names), 1)}
    numbers = ", ".join(str(2147483647 * min(ids["z.png"], n) + max(ids["z.png"], n)) for n in range(1, 6))

    def reason(missing: tuple[str, ...] = ("z.png",)) -> tuple[int, str]:
        found = unregistered(database, missing)[0]
        assert found.name == "z.png"
        return found.inliers, found.reason

    inliers, told = reason()
    assert inliers >= 100 and "or they contradict it" in told
    assert "is not registered either" in reason(("z.png", *scene.names[:5]))[1]
    execute(database, f"UPDATE two_view_geometries SET config = 6 WHERE pair_id IN ({numbers})")
    assert "only turned or did not move between the two" in reason()[1]
    execute(database, f"UPDATE two_view_geometries SET config = 1, rows = 0, data = NULL WHERE pair_id IN ({numbers})")
    assert reason()[0] == 0 and "none of its pairs passed verification" in reason()[1]
    execute(database, f"DELETE FROM matches WHERE pair_id IN ({numbers})")
    assert reason() == (0, "no photo matches it")
    assert unregistered(database, ()) == ()
