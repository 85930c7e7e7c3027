"""`astr match --plots`: drawings of matches without truth."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from astr_cli.cli.app import run
from astr_cli.images.drawing import DrawingFolder
from astr_cli.matching.plots import Drawings, confidence_colours, draw_pairs
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches


def test_every_pair_is_drawn_and_again_without_matching(scene, capsys: pytest.CaptureFixture[str]) -> None:
    plots = scene.root / "plots"
    assert run([*scene.arguments(), "--plots", str(plots)]) == 0
    assert f"{plots}: 15 of 15 pairs drawn" in capsys.readouterr().err
    names = sorted(path.name for path in plots.iterdir())
    assert len(names) == 15 and names[0] == "photo00_photo01.jpg"
    assert cv2.imread(str(plots / names[0])).shape == (128 + 28, 320, 3)
    assert run([*scene.arguments(), "--plots", str(plots), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["event"] for record in records] == ["drawn", "summary"]
    assert records[0]["drawn"] == 15


def test_a_folder_that_cannot_be_made_is_told_before_matching(scene) -> None:
    assert run([*scene.arguments(), "--plots", str(scene.root / "pairs.txt")]) == 2
    assert not (scene.root / "m.h5").exists()


def test_large_files_are_thinned_and_lost_photos_left_out(tmp_path: Path) -> None:
    names = [f"{index:03d}.png" for index in range(151)]
    for name in names[:-1]:
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / name)
    entries = [MatchEntry(names[0], name, (32, 32), (32, 32), PairMatches.empty()) for name in names[1:]]
    write_matches(tmp_path / "m.h5", [], entries)
    assert draw_pairs(tmp_path / "m.h5", tmp_path, DrawingFolder(tmp_path / "plots")) == Drawings(99, 150, 1)
    assert len(list((tmp_path / "plots").iterdir())) == 99


def test_turned_photos_stand_upright_with_their_points(tmp_path: Path) -> None:
    """One match at the raw photo's left top corner, which EXIF 6 takes to the right."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((64, 96), np.uint8)).save(tmp_path / name, exif=exif)
    point = np.array([[5, 3]], np.float32)
    matches = PairMatches(point, point, np.ones(1, np.float32), np.zeros(1, np.uint8))
    write_matches(tmp_path / "m.h5", [], [MatchEntry("a.png", "b.png", (96, 64), (96, 64), matches)])
    draw_pairs(tmp_path / "m.h5", tmp_path, DrawingFolder(tmp_path / "plots"))
    canvas = cv2.imread(str(tmp_path / "plots" / "a_b.jpg"))
    assert canvas.shape == (96 + 28, 128, 3)
    assert canvas[28 + 5, 60, 1] > 100 and canvas[28 + 5, 124, 1] > 100
    assert canvas[28 + 10 :].max() < 60


def test_names_that_differ_in_their_suffix_only(tmp_path: Path) -> None:
    folder = DrawingFolder(tmp_path)
    canvas = np.zeros((8, 8, 3), np.uint8)
    written = [folder.write(canvas, "a/x.jpg", name).name for name in ("y.jpg", "y.png")]
    assert written == ["a-x_y.jpg", "a-x-jpg_y-png.jpg"]


def test_colours_go_from_red_to_green() -> None:
    assert confidence_colours(np.array([0, 0.5, 1], np.float32)).tolist() == [[0, 0, 255], [0, 255, 255], [0, 255, 0]]
