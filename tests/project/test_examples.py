"""The examples do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from astr_cli.store import MatchEntry, PairMatches, write_matches

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SIZE = (640, 480)


def run(command: Sequence[str | Path], folder: Path, code: int = 0) -> str:
    """Runs a command with this environment's `astr` and `python` first on PATH; returns what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def entry(name0: str, name1: str, points0: np.ndarray, points1: np.ndarray, scores: Sequence[float]) -> MatchEntry:
    """A pair whose image0 points are cell centres."""
    count = len(scores)
    arrays = (points0.astype(np.float32), points1.astype(np.float32), np.array(scores, np.float32))
    return MatchEntry(name0, name1, SIZE, SIZE, PairMatches(*arrays, np.zeros(count, np.uint8)))


@pytest.fixture
def matches(tmp_path: Path) -> Path:
    """Four cells of cam/a.jpg: found 2 px to the right in b.jpg, the first two also in c.jpg; b.jpg and c.jpg: nothing."""
    cells = np.array([(35.5, 27.5), (99.5, 27.5), (35.5, 203.5), (307.5, 123.5)])
    nothing = np.zeros((0, 2))
    path = tmp_path / "matches.h5"
    entries = [
        entry("cam/a.jpg", "b.jpg", cells, cells + (2.25, 0), (0.9, 0.8, 0.7, 0.6)),
        entry("cam/a.jpg", "c.jpg", cells[:2], cells[:2] + (4.5, 1), (0.85, 0.75)),
        entry("b.jpg", "d.jpg", nothing, nothing, ()),
    ]
    write_matches(path, [("long_side", "640")], entries)
    return path


def test_hloc_gets_features_and_matches(matches: Path, tmp_path: Path) -> None:
    run([sys.executable, EXAMPLES / "hloc.py", matches, tmp_path / "hloc"], tmp_path)
    with h5py.File(tmp_path / "hloc" / "features.h5") as features, h5py.File(tmp_path / "hloc" / "matches.h5") as pairs:
        keypoints = {name: features[name]["keypoints"][()] for name in ("cam/a.jpg", "b.jpg", "c.jpg", "d.jpg")}
        found = {key: (pairs[key]["matches0"][()], pairs[key]["matching_scores0"][()]) for key in KEYS}
        assert features["b.jpg"]["image_size"][()].tolist() == list(SIZE)
    assert {name: len(points) for name, points in keypoints.items()} == {
        "cam/a.jpg": 4,
        "b.jpg": 4,
        "c.jpg": 2,
        "d.jpg": 0,
    }
    assert all(points.dtype == np.float32 and points.shape[1] == 2 for points in keypoints.values())
    for key, image1, move, count in ((KEYS[0], "b.jpg", (2.25, 0), 4), (KEYS[1], "c.jpg", (4.5, 1), 2)):
        matches0, scores0 = found[key]
        assert (matches0.dtype, scores0.dtype) == (np.int32, np.float16)
        assert len(matches0) == len(scores0) == 4
        rows = np.flatnonzero(matches0 >= 0)
        assert len(rows) == count
        np.testing.assert_allclose(
            keypoints[image1][matches0[rows]] - keypoints["cam/a.jpg"][rows], [move] * count, atol=1e-4
        )
        assert scores0[rows].min() > 0.5
    assert (found[KEYS[2]][0] == -1).all()


KEYS = ("cam-a.jpg/b.jpg", "cam-a.jpg/c.jpg", "b.jpg/d.jpg")


def test_hloc_never_overwrites_what_it_reads(matches: Path, tmp_path: Path) -> None:
    before = matches.read_bytes()
    assert "choose another folder" in run([sys.executable, EXAMPLES / "hloc.py", matches, tmp_path], tmp_path, code=1)
    assert matches.read_bytes() == before


def test_the_courtyard_is_what_its_cameras_see(tmp_path: Path) -> None:
    """A corner of the box, projected by gt.json, stands where the photo's grey changes; the same photos every time."""
    for name in ("first", "second"):
        run([sys.executable, EXAMPLES / "quickstart_scene.py", tmp_path / name], tmp_path)
    first, second = (sorted((tmp_path / name).rglob("*.*")) for name in ("first", "second"))
    assert len(first) == 9
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.slow
def test_the_script_makes_a_model(tmp_path: Path) -> None:
    run([sys.executable, EXAMPLES / "quickstart_scene.py", tmp_path / "scene"], tmp_path)
    photos = tmp_path / "my photos"
    photos.mkdir()
    for image in sorted((tmp_path / "scene" / "images").iterdir())[1:5]:
        image.rename(photos / image.name)
    printed = run(["bash", EXAMPLES / "sfm.sh", photos, tmp_path / "out", "--quiet", "--device", "cpu"], tmp_path)
    assert len((tmp_path / "out" / "pairs.txt").read_text().splitlines()) == 6
    assert "sparse/0: 4 photos" in printed
    assert "colmap patch_match_stereo" in printed
