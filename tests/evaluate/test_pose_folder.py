"""Reading folders with true cameras."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.errors import AstrError
from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.evaluate.run import write_cameras
from astr_cli.scenes.geometry import ScenePair
from astr_cli.store.cameras import read_cameras

SHARED = Path(__file__).parents[2] / "../shared/data/scenes"


def test_poses_come_back_as_they_were_rendered(pose_folder: Path, scene: ScenePair) -> None:
    folder = read_pose_folder(pose_folder)
    assert [(pair.name0, pair.name1) for pair in folder.pairs] == [(f"a{k}.png", f"b{k}.png") for k in range(4)]
    for k in range(4):
        truth = folder.truth(f"a{k}.png", f"b{k}.png")
        np.testing.assert_allclose(truth.rotation, scene.pose[k, :3, :3].numpy(), atol=1e-5)
        np.testing.assert_allclose(truth.translation, scene.pose[k, :3, 3].numpy(), atol=1e-5)
    assert folder.views["b2.png"].size == (384, 288)


def test_true_cameras_are_written_for_the_matcher(pose_folder: Path, tmp_path: Path) -> None:
    folder = read_pose_folder(pose_folder)
    write_cameras(folder, tmp_path / "cameras.txt")
    book = read_cameras(tmp_path / "cameras.txt")
    for name, view in folder.views.items():
        np.testing.assert_allclose(book.for_image(name, *view.size).matrix(), view.intrinsics, atol=1e-9)


def change(path: Path, name: str, key: str, value: Any) -> None:
    content = json.loads((path / "gt.json").read_text())
    content["images"][name][key] = value
    (path / "gt.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("K", [[1, 2], [3, 4]], "expected finite K"),
        ("R", [[2, 0, 0], [0, 1, 0], [0, 0, 1]], "not a rotation"),
        ("t", "x", "expected numbers"),
        ("t", [0, 0, float("nan")], "expected finite"),
        ("size", [], "expected numbers"),
        ("size", [0, 5], "above 0"),
        ("K", [[-1, 0, 3], [0, 5, 3], [0, 0, 1]], "above 0"),
    ],
)
def test_bad_cameras_are_named(pose_folder: Path, key: str, value: Any, part: str) -> None:
    change(pose_folder, "b1.png", key, value)
    with pytest.raises(EvaluateError, match=rf"gt\.json: b1\.png: .*{part}"):
        read_pose_folder(pose_folder)


def test_unknown_names_get_the_nearest_one(pose_folder: Path) -> None:
    (pose_folder / "pairs.txt").write_text("a0.png b0.png\na1.png bb1.png\n")
    with pytest.raises(EvaluateError, match=r"pairs\.txt:2: bb1\.png has no camera .* did you mean b1\.png\?"):
        read_pose_folder(pose_folder)


def test_two_photos_from_one_place_are_refused(pose_folder: Path) -> None:
    change(pose_folder, "b0.png", "t", [0, 0, 0])
    with pytest.raises(EvaluateError, match="same place"):
        read_pose_folder(pose_folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "homography", "pairs": []}', '{"type": "pose"}'])
def test_other_files_are_refused(pose_folder: Path, text: str) -> None:
    (pose_folder / "gt.json").write_text(text)
    with pytest.raises(EvaluateError, match=r"gt\.json"):
        read_pose_folder(pose_folder)


def test_missing_files_are_named(tmp_path: Path, pose_folder: Path) -> None:
    with pytest.raises(EvaluateError, match=r"gt\.json: no such file; give a folder with"):
        read_pose_folder(tmp_path / "nowhere")
    (pose_folder / "pairs.txt").unlink()
    with pytest.raises(AstrError, match=r"pairs\.txt"):
        read_pose_folder(pose_folder)


@pytest.mark.parametrize(("name", "pairs"), [("fountain-P11", 40), ("entry-P10", 35), ("tum-fr3-office", 74)])
def test_real_folders_are_read(name: str, pairs: int) -> None:
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data here")
    folder = read_pose_folder(SHARED / name)
    assert len(folder.pairs) == pairs
    assert all((folder.images / pair.name0).is_file() for pair in folder.pairs)
