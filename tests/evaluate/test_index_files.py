"""Index files of MegaDepth and ScanNet in LoFTR's layout, as the test writes them, and the search for benchmarks."""

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from astr_cli.cli.app import app, run
from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.pose_folder import PoseFolder
from astr_cli.evaluate.readers.find import find_benchmarks
from astr_cli.scenes.geometry import ScenePair

from .conftest import to_uint8, write_folder


def of_objects(items: list[Any]) -> np.ndarray:
    array = np.empty(len(items), object)
    for place, item in enumerate(items):
        array[place] = item
    return array


def photo_name(k: int, side: str) -> str:
    return f"Undistorted_SfM/00{k}/images/{side}.png"


def index_content(scene: ScenePair, k: int) -> dict[str, Any]:
    """As in LoFTR's files: gaps in the numbers, COLMAP's pixel centres, a world that is neither camera's."""
    world = np.eye(4)
    world[:3, 3] = (1, -2, 0.5)
    names, cameras, poses = [None, photo_name(k, "a"), None, photo_name(k, "b")], [None] * 4, [None] * 4
    views = ((1, scene.intrinsics0[k], np.eye(4)), (3, scene.intrinsics1[k], scene.pose[k].double().numpy()))
    for number, matrix, pose in views:
        cameras[number] = matrix.double().numpy() + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        poses[number] = pose @ world
    return {
        "image_paths": of_objects(names),
        "depth_paths": of_objects([None, "d/1.h5", None, "d/3.h5"]),
        "intrinsics": of_objects(cameras),
        "poses": of_objects(poses),
        "pair_infos": of_objects([(np.array([1, 3]), 0.4, np.zeros((2, 6)))]),
    }


def write_photos(root: Path, scene: ScenePair, count: int) -> None:
    for k in range(count):
        for side, image in (("a", scene.image0), ("b", scene.image1)):
            path = root / photo_name(k, side)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), to_uint8(image[k, 0]))


@pytest.fixture
def megadepth(tmp_path: Path, scene: ScenePair) -> Path:
    """megadepth/index/test/*.npz, one an archive and one a pickled dict, with the photos in megadepth/test."""
    root = tmp_path / "megadepth"
    index = root / "index" / "scene_info"
    index.mkdir(parents=True)
    np.savez(index / "0000_0.1_0.3.npz", **index_content(scene, 0))
    (index / "0001_0.1_0.3.npz").write_bytes(pickle.dumps(index_content(scene, 1), 3))
    write_photos(root / "test", scene, 2)
    return root


def one(folder: Path) -> PoseFolder:
    (found,) = find_benchmarks(folder)
    assert isinstance(found, PoseFolder)
    return found


def test_megadepth_is_read(megadepth: Path, scene: ScenePair) -> None:
    found = one(megadepth)
    assert found.name == "index/scene_info" and found.images == megadepth / "test"
    assert [(p.name0, p.name1) for p in found.pairs] == [(photo_name(k, "a"), photo_name(k, "b")) for k in (0, 1)]
    for k in (0, 1):
        truth = found.truth(photo_name(k, "a"), photo_name(k, "b"))
        np.testing.assert_allclose(truth.rotation, scene.pose[k, :3, :3].numpy(), atol=1e-5)
        np.testing.assert_allclose(truth.translation, scene.pose[k, :3, 3].numpy(), atol=1e-5)
        view = found.views[photo_name(k, "a")]
        np.testing.assert_allclose(view.intrinsics, scene.intrinsics0[k].numpy(), atol=1e-4)
        assert view.size == (384, 288)


def test_pairs_in_two_files_count_once(megadepth: Path, scene: ScenePair) -> None:
    index = megadepth / "index" / "scene_info"
    content = index_content(scene, 0)
    content["pair_infos"] = [(np.array([3, 1]), 0.4, None), [(np.int64(1), 3), 0.3, None]]
    np.savez(index / "0000_0.3_0.5.npz", **{**content, "pair_infos": of_objects(content["pair_infos"])})
    assert len(one(megadepth).pairs) == 2
    content["poses"][1] = np.diag((1.0, 1, 1, 1)) + np.eye(4, k=3)
    np.savez(index / "0000_0.3_0.5.npz", **{**content, "pair_infos": of_objects(content["pair_infos"])})
    with pytest.raises(
        EvaluateError, match=r"0000_0\.3_0\.5\.npz: .*a\.png has another camera in .*0000_0\.1_0\.3\.npz"
    ):
        one(megadepth)


@pytest.mark.parametrize("numbers", [[1, 2], [1, 9], [-1, 3], [1], "xy", None])
def test_pairs_without_photos_are_named(megadepth: Path, scene: ScenePair, numbers: Any) -> None:
    content = index_content(scene, 0) | {"pair_infos": of_objects([(numbers, 0.4, None)])}
    np.savez(megadepth / "index" / "scene_info" / "0000_0.1_0.3.npz", **content)
    with pytest.raises(EvaluateError, match=r"0000_0\.1_0\.3\.npz: pair 1: expected the numbers"):
        one(megadepth)


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "a/../../b.jpg"])
def test_photos_outside_of_the_folder_are_refused(megadepth: Path, scene: ScenePair, name: str) -> None:
    content = index_content(scene, 0)
    content["image_paths"][1] = name
    np.savez(megadepth / "index" / "scene_info" / "0000_0.1_0.3.npz", **content)
    with pytest.raises(EvaluateError, match=r"is an absolute path|leaves the image root"):
        one(megadepth)


def test_missing_photos_are_named(megadepth: Path) -> None:
    (megadepth / "test" / photo_name(1, "b")).unlink()
    with pytest.raises(EvaluateError, match=r"001/images/b\.png: no such image"):
        one(megadepth)
    (megadepth / "test").rename(megadepth.parent / "elsewhere")
    (megadepth.parent / "elsewhere" / "Undistorted_SfM").rename(megadepth.parent / "Undistorted")
    with pytest.raises(EvaluateError, match=r"its photos were not found: no Undistorted_SfM/000/images/a\.png"):
        one(megadepth)


@pytest.fixture
def scannet(tmp_path: Path, scene: ScenePair) -> Path:
    """Poses are camera to world; intrinsics are those of 640 x 480, which the frames here are not."""
    root = tmp_path / "scannet_test_1500"
    folder = root / "scene0707_00"
    for part in ("color", "pose"):
        (folder / part).mkdir(parents=True)
    for number, image, pose in ((15, scene.image0[0, 0], np.eye(4)), (585, scene.image1[0, 0], scene.pose[0].numpy())):
        cv2.imwrite(str(folder / "color" / f"{number}.jpg"), to_uint8(image))
        np.savetxt(folder / "pose" / f"{number}.txt", np.linalg.inv(pose))
    np.savez(root / "test.npz", name=np.array([[707, 0, 15, 585]], np.uint16))
    camera = scene.intrinsics0[0].double().numpy().copy()
    camera[:2] *= 640 / 384  # 384 x 288 to 640 x 480
    camera[:2, 2] += 0.5 * 640 / 384 - 0.5
    np.savez(root / "intrinsics.npz", scene0707_00=camera)
    return root


def test_scannet_is_read(scannet: Path, scene: ScenePair) -> None:
    found = one(scannet)
    assert found.name == "scannet_test_1500"
    names = ("scene0707_00/color/15.jpg", "scene0707_00/color/585.jpg")
    assert [(pair.name0, pair.name1) for pair in found.pairs] == [names]
    np.testing.assert_allclose(found.truth(*names).rotation, scene.pose[0, :3, :3].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.truth(*names).translation, scene.pose[0, :3, 3].numpy(), atol=1e-5)
    np.testing.assert_allclose(found.views[names[0]].intrinsics, scene.intrinsics0[0].numpy(), atol=1e-4)


@pytest.mark.parametrize("text", [None, "1 2 3", "x " * 16, "nan " * 16, "0 " * 16])
def test_bad_frames_are_named(scannet: Path, text: str | None) -> None:
    path = scannet / "scene0707_00" / "pose" / "585.txt"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(EvaluateError, match=r"585\.txt: (no such file|expected 4x4)"):
        one(scannet)


def test_bad_scannet_files_are_named(scannet: Path) -> None:
    np.savez(scannet / "intrinsics.npz", scene0001_00=np.eye(3))
    with pytest.raises(EvaluateError, match=r"intrinsics\.npz: expected a 3x3 matrix for scene0707_00"):
        one(scannet)
    np.savez(scannet / "test.npz", name=np.zeros((2, 3), int))
    with pytest.raises(EvaluateError, match=r"test\.npz: expected `name` with 4"):
        one(scannet)


def write_sequence(folder: Path, scene: ScenePair) -> None:
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        cv2.imwrite(str(folder / f"{number}.png"), to_uint8(scene.image0[0, 0]))
    for number in (2, 3):
        (folder / f"H_1_{number}").write_text("1 0 0\n0 1 0\n0 0 1\n")


def test_everything_in_a_folder_is_found(megadepth: Path, scannet: Path, scene: ScenePair) -> None:
    top = megadepth.parent
    write_folder(top / "scenes" / "made", scene)
    write_folder(top / ".hidden" / "made", scene)
    for name in ("v_a", "v_b"):
        write_sequence(top / "hpatches" / name, scene)
    write_sequence(top / "alone" / "i_c", scene)
    write_folder(top / "alone" / "posed", scene)
    (top / "photos").mkdir()
    np.savez(top / "photos" / "other.npz", a=np.zeros(3))
    (top / "photos" / "round").symlink_to(top, target_is_directory=True)
    found = {benchmark.name: benchmark for benchmark in find_benchmarks(top)}
    assert list(found) == [
        "alone/i_c",
        "alone/posed",
        "hpatches",
        "megadepth/index/scene_info",
        "scannet_test_1500",
        "scenes/made",
    ]
    assert [(p.name0, p.name1) for p in found["hpatches"].pairs] == [
        (f"{name}/1.png", f"{name}/{k}.png") for name in ("v_a", "v_b") for k in (2, 3)
    ]
    assert [benchmark.kind for benchmark in found.values()] == ["homography", "pose", "homography", *["pose"] * 3]
    assert all((b.images / p.name0).is_file() for b in found.values() for p in b.pairs)


def test_pairs_are_thinned_evenly(pose_folder: Path) -> None:
    folder = one(pose_folder)
    thin = folder.thinned(2)
    assert [pair.name0 for pair in thin.pairs] == ["a0.png", "a3.png"] and thin.left_out == 2
    assert [pair.name0 for pair in folder.thinned(1).pairs] == ["a0.png"]
    assert folder.thinned(4) is folder and folder.left_out == 0
    assert thin.thinned(1).left_out == 3
    with pytest.raises(EvaluateError, match="--max-pairs 0"):
        folder.thinned(0)


def test_folders_without_truth_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(EvaluateError, match="contains no ground truth"):
        find_benchmarks(tmp_path)
    with pytest.raises(EvaluateError, match="no such folder"):
        find_benchmarks(tmp_path / "none")
    (tmp_path / "photos" / "gt.json").write_text('{"type": "flow"}')
    with pytest.raises(EvaluateError, match="\"type\" is 'flow'; known are pose, homography and disparity"):
        find_benchmarks(tmp_path)


def test_one_command_evaluates_all_kinds(scannet: Path, scene: ScenePair, tmp_path: Path) -> None:
    import torch

    from astr_cli.model.astr import Astr
    from astr_cli.model.checkpoint import save_weights
    from astr_cli.model.config import PRESETS

    write_sequence(tmp_path / "v_a", scene)
    torch.manual_seed(0)
    weights = tmp_path / "random.safetensors"
    save_weights(weights, Astr(PRESETS["astr-small"]).eval(), {})
    arguments = ["eval", str(tmp_path), "--weights", str(weights), "--long-side", "96", "--threshold", "0", "--sift"]
    arguments += ["--device", "cpu", "--max-pairs", "1", "--plots", str(tmp_path / "plots")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    totals = {(row["benchmark"], row["matcher"]): row for row in rows if row["event"] == "total"}
    assert set(totals) == {(name, matcher) for name in ("scannet_test_1500", "v_a") for matcher in ("random", "sift")}
    assert totals["v_a", "random"]["matches"] > 5 and totals["v_a", "random"]["seconds_a_pair"] > 0
    assert totals["v_a", "sift"]["auc3"] > 0.95  # the same photo twice
    assert (totals["v_a", "sift"]["pairs"], totals["v_a", "sift"]["left_out"]) == (1, 1)
    assert sum(row["event"] == "pair" for row in rows) == 4
    assert len(list((tmp_path / "plots" / "v_a").glob("*.jpg"))) == 2
    table = CliRunner().invoke(app, arguments).stdout
    assert "Relative pose" in table and "Homography" in table and "1 of 2" in table and "Dense" not in table


def test_a_file_of_matches_is_for_one_benchmark(
    scannet: Path, scene: ScenePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sequence(tmp_path / "v_a", scene)
    assert run(["eval", str(tmp_path), "--matches", str(tmp_path / "m.h5")]) == 2
    assert "contains 2 benchmarks (scannet_test_1500, v_a)" in capsys.readouterr().err


def test_a_photo_of_another_size_is_refused(pose_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(pose_folder / "images" / "b1.png"), np.zeros((144, 192), np.uint8))
    assert run(["eval", str(pose_folder), "--device", "cpu"]) == 2
    assert "b1.png is 192x144, but its truth is for 384x288" in capsys.readouterr().err
