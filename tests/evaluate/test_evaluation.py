"""Whole evaluations: perfect, absent, stored and SIFT's matches of rendered scenes."""

import json
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from astr_cli.cli.app import app, run
from astr_cli.errors import Interrupted
from astr_cli.evaluate.benchmark import EvaluateError, PairOutcome
from astr_cli.evaluate.plots import error_colours
from astr_cli.evaluate.pose import installed_estimators
from astr_cli.evaluate.pose_folder import PoseFolder, PoseResult
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.evaluate.run import evaluate, evaluate_astr, evaluate_file, match_options
from astr_cli.evaluate.sift import SiftMatcher, match_descriptors
from astr_cli.matching.run.events import Event, Started
from astr_cli.options.evaluate import EvalMatching
from astr_cli.scenes.geometry import ScenePair
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches


def true_matches(scene: ScenePair, k: int) -> PairMatches:
    """Every fourth pixel of image 0 that has depth and falls into image 1, by the true geometry."""
    depth = scene.depth0[k, ::4, ::4]
    y, x = torch.meshgrid(torch.arange(0, 288, 4.0), torch.arange(0, 384, 4.0), indexing="ij")
    pixels = torch.stack((x, y, torch.ones_like(x)), dim=-1)[depth > 0]
    points = (pixels * depth[depth > 0][:, None]) @ torch.linalg.inv(scene.intrinsics0[k]).T
    image = (points @ scene.pose[k, :3, :3].T + scene.pose[k, :3, 3]) @ scene.intrinsics1[k].T
    inside = (image[:, 2] > 0) & (image[:, 0] > 0) & (image[:, 0] < 383 * image[:, 2])
    inside &= (image[:, 1] > 0) & (image[:, 1] < 287 * image[:, 2])
    first = pixels[inside, :2].numpy().astype(np.float32)
    second = (image[inside, :2] / image[inside, 2:]).numpy().astype(np.float32)
    return PairMatches(first, second, np.ones(len(first), np.float32), np.zeros(len(first), np.uint8))


@pytest.fixture
def folder(pose_folder: Path) -> PoseFolder:
    return read_pose_folder(pose_folder)


def entry(scene: ScenePair, k: int, swap: bool = False) -> MatchEntry:
    found = true_matches(scene, k)
    if swap:
        found = PairMatches(found.keypoints1, found.keypoints0, found.scores, found.reference)
        return MatchEntry(f"b{k}.png", f"a{k}.png", (384, 288), (384, 288), found)
    return MatchEntry(f"a{k}.png", f"b{k}.png", (384, 288), (384, 288), found)


def stored(path: Path, scene: ScenePair, *indices: int, long_side: str = "384") -> Path:
    write_matches(path, [("long_side", long_side)], [entry(scene, k, swap=k == 1) for k in indices])
    return path


def test_true_matches_score_full_marks(folder: PoseFolder, scene: ScenePair) -> None:
    done = evaluate(folder, "truth", lambda name0, name1: true_matches(scene, int(name0[1])), 384)
    assert min(result.matches for result in done.results) > 200
    assert [row.estimator for row in done.totals] == list(installed_estimators())
    assert all(row.precision == 1.0 for row in done.totals)
    assert all(value > 0.97 for row in done.totals for value in (row.auc1, row.auc5, row.auc20))
    assert done.seconds is not None and done.seconds >= 0


def test_no_matches_score_nothing_and_count(folder: PoseFolder, scene: ScenePair) -> None:
    def match(name0: str, name1: str) -> PairMatches:
        return PairMatches.empty() if name0 == "a0.png" else true_matches(scene, int(name0[1]))

    done = evaluate(folder, "half", match, 384)
    assert done.results[0].errors["ransac"].largest == 180 and done.results[0].precision == 0
    assert done.totals[0].precision == 0.75
    assert 0.72 < done.totals[0].auc20 <= 0.75
    assert done.totals[0].matches == sum(result.matches for result in done.results) / 4


def test_stored_matches_serve_either_way_round_and_missing_pairs_are_left_out(
    folder: PoseFolder, scene: ScenePair, tmp_path: Path
) -> None:
    path = stored(tmp_path / "m.h5", scene, 0, 1, 2)
    done = evaluate_file(folder, path)
    assert done.matcher == "m" and done.long_side == 384 and done.seconds is None
    assert [result.matches > 200 for result in done.results] == [True, True, True]
    assert [result.precision for result in done.results] == [1.0, 1.0, 1.0]
    assert (done.missing, done.benchmark.left_out) == (1, 1)
    assert done.warnings == (f"evaluating 3 of 4 pairs; 1 is not in {path}",)
    failed = evaluate_file(folder, path, absent="failed")
    assert failed.results[3].errors["magsac"].largest == 180
    assert (failed.missing, failed.warnings) == (0, ())


def test_matches_of_other_photos_with_the_same_names_are_told(
    folder: PoseFolder, scene: ScenePair, tmp_path: Path
) -> None:
    def warnings(root: str) -> tuple[str, ...]:
        write_matches(tmp_path / "m.h5", [("images", root), ("long_side", "384")], [entry(scene, k) for k in range(4)])
        return evaluate_file(folder, tmp_path / "m.h5").warnings

    assert warnings("scene/images") == warnings(str(folder.images)) == ()
    assert warnings("gone/scene/images") == ()
    assert "was matched from gone/entry-P10/images" in warnings("gone/entry-P10/images")[0]
    shutil.copytree(folder.images, tmp_path / "copy")
    assert warnings("copy") == ()
    shutil.copy(folder.images / "b1.png", tmp_path / "copy" / "a0.png")
    assert "a0.png differs" in warnings("copy")[0]


def test_matches_of_other_photos_are_refused(folder: PoseFolder, scene: ScenePair, tmp_path: Path) -> None:
    found = true_matches(scene, 0)
    other = MatchEntry("x.png", "y.png", (384, 288), (384, 288), found)
    write_matches(tmp_path / "other.h5", [("long_side", "384")], [other])
    with pytest.raises(EvaluateError, match="contains no pair of"):
        evaluate_file(folder, tmp_path / "other.h5")
    larger = MatchEntry("a0.png", "b0.png", (768, 576), (384, 288), found)
    write_matches(tmp_path / "larger.h5", [("long_side", "384")], [larger])
    with pytest.raises(EvaluateError, match=r"a0\.png was matched at 768x576"):
        evaluate_file(folder, tmp_path / "larger.h5")
    write_matches(tmp_path / "silent.h5", [], [entry(scene, 0)])
    with pytest.raises(EvaluateError, match="has no long side stored"):
        evaluate_file(folder, tmp_path / "silent.h5")


def test_sift_finds_the_poses_of_rendered_scenes(folder: PoseFolder) -> None:
    outcomes: list[PairOutcome[PoseResult]] = []
    done = evaluate(folder, "sift", SiftMatcher(folder.images, 384).match, 384, outcomes.append)
    assert sum(result.matches for result in done.results) > 200
    good = [result for result in done.results if result.errors["magsac"].largest < 3]
    assert len(good) >= 2
    assert done.totals[0].precision > 0.6
    for outcome in outcomes:
        assert (np.diff(outcome.matches.scores) <= 0).all()
        assert len(np.unique(outcome.matches.keypoints0, axis=0)) > 0.7 * len(outcome.matches)


def test_sift_of_flat_photos_matches_nothing(folder: PoseFolder) -> None:
    import cv2

    for name in ("a0.png", "b0.png"):
        cv2.imwrite(str(folder.images / name), np.full((288, 384), 128, np.uint8))
    assert len(SiftMatcher(folder.images, 384).match("a0.png", "b0.png")) == 0


def test_sift_tests_the_ratio_both_ways() -> None:
    first = np.array([[0.0, 0], [20, 0]], np.float32)
    second = np.array([[1.0, 0], [10, 0]], np.float32)
    rows, there, ratio = match_descriptors(first, second)
    assert (rows.tolist(), there.tolist()) == ([0], [0])  # 20 and 10 are nearest to each other, but 10 is between two
    assert ratio == pytest.approx([0.1])
    # Seen from image 0 nothing changes; seen from image 1 the descriptor 1 now is as near to 2.1 as to 0.
    first[1, 0] = 2.1
    assert len(match_descriptors(first, second)[0]) == 0


def test_colours_go_from_green_to_red() -> None:
    colours = error_colours(np.array([0.0, 0.95, 10**0.5, 100.0, np.inf, np.nan]))
    assert colours.tolist()[0] == [0, 255, 0] and colours.tolist()[1] == [0, 255, 0]
    assert colours.tolist()[2] == [0, 255, 255]
    assert colours.tolist()[3] == [0, 0, 255] and colours.tolist()[4] == [0, 0, 255]
    assert len(set(colours.tolist()[5])) == 1


def test_drawn_errors_are_distances_in_units_of_the_threshold(folder: PoseFolder, scene: ScenePair) -> None:
    outcomes: list[PairOutcome[PoseResult]] = []
    found = true_matches(scene, 0)
    off = found.keypoints1 + np.float32(0.5)
    moved = PairMatches(found.keypoints0, off, found.scores, found.reference)
    evaluate(folder, "off", lambda *names: moved if names[0] == "a0.png" else PairMatches.empty(), 384, outcomes.append)
    errors = outcomes[0].errors
    assert outcomes[0].result.precision == np.mean(errors < 1)
    twice = PairMatches(found.keypoints0, found.keypoints1 + np.float32(1), found.scores, found.reference)
    np.testing.assert_allclose(np.median(folder.score("a0.png", "b0.png", twice, 384).errors / errors), 2, rtol=0.05)


def test_command_prints_json_and_draws(pose_folder: Path, scene: ScenePair, tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.h5", scene, 0, 1, 2, 3)
    plots = tmp_path / "plots"
    arguments = ["eval", str(pose_folder), "--matches", str(path), "--sift", "--json", "--plots", str(plots)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    pairs = [row for row in rows if row["event"] == "pair"]
    totals = [row for row in rows if row["event"] == "total"]
    assert len(pairs) == 8 and len(totals) == 2 * len(installed_estimators())
    assert {(row["matcher"], row["estimator"]) for row in totals} == {
        (matcher, estimator) for matcher in ("mine", "sift") for estimator in installed_estimators()
    }
    mine = next(row for row in totals if row["matcher"] == "mine")
    assert mine["precision"] == 1.0 and mine["auc10"] > 0.97 and mine["pairs"] == 4
    assert pairs[0]["ransac"]["rotation"] < 1 and pairs[0]["matches"] > 200
    assert mine["left_out"] == 0 and mine["kind"] == "pose"
    assert len(list(plots.glob("mine_*.jpg"))) == 4 and len(list(plots.glob("sift_*.jpg"))) == 4
    index = (plots / "index.html").read_text(encoding="utf-8")
    assert index.count("<img ") == 8 and all(f'src="{path.name}"' in index for path in plots.glob("*.jpg"))


def test_command_prints_a_table(pose_folder: Path, scene: ScenePair, tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.h5", scene, 0, 1, 2, 3)
    result = CliRunner().invoke(app, ["eval", str(pose_folder), "--matches", str(path)])
    assert result.exit_code == 0
    assert "RANSAC" in result.stdout and "MAGSAC" in result.stdout and "AUC@5/10/20" in result.stdout
    assert "of 4" not in result.stdout
    result = CliRunner().invoke(app, ["eval", str(pose_folder), "--matches", str(path), "--max-pairs", "3"])
    assert "3 of 4" in result.stdout


def test_command_takes_a_threshold_and_says_it(pose_folder: Path, scene: ScenePair, tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.h5", scene, 0, 1, 2, 3)
    arguments = ["eval", str(pose_folder), "--matches", str(path), "--ransac-px"]
    assert "384 px, poses at 1.5 px" in CliRunner().invoke(app, [*arguments, "1.5"]).stdout
    result = CliRunner().invoke(app, [*arguments, "1.5", "--json"])
    totals = [json.loads(line) for line in result.stdout.splitlines() if '"total"' in line]
    assert {row["ransac_px"] for row in totals} == {1.5}
    assert run([*arguments, "0"]) == run([*arguments, "nan"]) == 2


def test_command_works_without_poselib_and_says_how_to_get_it(
    pose_folder: Path, scene: ScenePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)
    path = stored(tmp_path / "mine.h5", scene, 0, 1, 2, 3)
    result = CliRunner().invoke(app, ["eval", str(pose_folder), "--matches", str(path)])
    assert result.exit_code == 0
    assert "RANSAC" in result.stdout and "PoseLib" not in result.stdout
    (line,) = result.stderr.splitlines()
    assert "pip install poselib" in line


def test_command_tells_of_pairs_that_the_file_lacks(pose_folder: Path, scene: ScenePair, tmp_path: Path) -> None:
    path = stored(tmp_path / "mine.h5", scene, 0, 1)
    arguments = ["eval", str(pose_folder), "--matches", str(path), "--sift"]
    result = CliRunner().invoke(app, arguments)
    assert f"warning: evaluating 2 of 4 pairs; 2 are not in {path}" in result.stderr
    assert "2 of 4" in result.stdout
    result = CliRunner().invoke(app, [*arguments, "--json"])
    totals = [json.loads(line) for line in result.stdout.splitlines() if '"total"' in line]
    count = len(installed_estimators())
    assert [row["pairs"] for row in totals] == [2] * 2 * count  # SIFT's too
    assert [row["not_in_matches"] for row in totals] == [2] * count + [0] * count


def test_command_refuses_what_cannot_be_evaluated(
    pose_folder: Path, scene: ScenePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path / "mine.h5", scene, 0)
    assert run(["eval", str(tmp_path / "nowhere")]) == 2
    assert run(["eval", str(pose_folder), "--matches", str(tmp_path / "none.h5")]) == 2
    assert run(["eval", str(pose_folder), "--matches", str(path), "--long-side", "640"]) == 2
    assert run(["eval", str(pose_folder), "--matches", str(path), "--plots", str(path)]) == 2
    assert run(["eval", str(pose_folder), "--weights", "no-such-weights"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert "was matched at --long-side 384, not 640" in lines[2]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Untrained ones."""
    from astr_cli.model.astr import Astr
    from astr_cli.model.checkpoint import save_weights
    from astr_cli.model.config import PRESETS

    torch.manual_seed(0)
    path = tmp_path / "random.safetensors"
    save_weights(path, Astr(PRESETS["astr-small"]).eval(), {})
    return path


@pytest.mark.parametrize("cameras", ["true", "none"])
def test_command_matches_the_folder_itself(pose_folder: Path, weights: Path, cameras: str) -> None:
    arguments = ["eval", str(pose_folder), "--weights", str(weights), "--long-side", "96", "--threshold", "0"]
    result = CliRunner().invoke(app, [*arguments, "--cameras", cameras, "--device", "cpu", "--json"])
    assert result.exit_code == 0, result.output
    totals = [json.loads(line) for line in result.stdout.splitlines() if '"total"' in line]
    assert [row["matcher"] for row in totals] == ["random"] * len(installed_estimators())
    assert totals[0]["matches"] > 5 and totals[0]["seconds_a_pair"] > 0


def test_stopping_it_promises_nothing(folder: PoseFolder, weights: Path, tmp_path: Path) -> None:
    """The matches lie in a folder that is thrown away."""

    def stop(event: Event) -> None:
        if isinstance(event, Started):
            signal.raise_signal(signal.SIGINT)

    options = match_options(
        folder,
        tmp_path,
        EvalMatching(weights=str(weights), long_side=96, threshold=0.0, device="cpu", cameras="none"),
    )
    with pytest.raises(Interrupted, match=f"^the matching of {folder.name}: stopped; its matches are discarded$"):
        evaluate_astr(folder, options, stop)
