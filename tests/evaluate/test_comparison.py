"""Two results on the same pairs: differences, their standard errors, and files of earlier results."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from astr_cli.cli.app import app, run
from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.comparison import Comparison, compare, find_rival, jackknife, unlike
from astr_cli.evaluate.metrics import error_auc
from astr_cli.evaluate.pose import installed_estimators
from astr_cli.evaluate.pose_folder import PoseFolder
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.evaluate.records import Scores, pair_records, read_scores, scores_of, total_records
from astr_cli.evaluate.run import evaluate
from astr_cli.model.astr import Astr
from astr_cli.model.checkpoint import save_weights
from astr_cli.model.config import PRESETS
from astr_cli.scenes.geometry import ScenePair
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

ERRORS = st.floats(0, 180) | st.just(math.inf)
PAIRED = st.lists(st.tuples(ERRORS, ERRORS), min_size=1, max_size=30)


def scores(errors: Sequence[float], matcher: str = "a", estimator: str = "poselib", setting: str = "640 px") -> Scores:
    by_pair = {(f"{k}a", f"{k}b"): error for k, error in enumerate(errors)}
    return Scores("scene", matcher, setting, {estimator: by_pair})


def only(first: Scores, second: Scores) -> Comparison:
    (comparison,) = compare(first, second)
    return comparison


@given(PAIRED)
def test_a_result_against_itself_differs_by_nothing(errors: list[tuple[float, float]]) -> None:
    mine = [error for error, _ in errors]
    found = only(scores(mine), scores(mine, "b"))
    assert (found.won, found.lost, found.pairs) == (0, 0, len(mine))
    for change in found.auc:
        assert change.difference == 0
        assert change.standard_error == (0 if len(mine) > 1 else None)


@given(PAIRED)
def test_swapping_the_two_changes_signs_and_nothing_else(errors: list[tuple[float, float]]) -> None:
    mine, theirs = map(list, zip(*errors, strict=True))
    there, back = only(scores(mine), scores(theirs, "b")), only(scores(theirs, "b"), scores(mine))
    assert (there.won, there.lost) == (back.lost, back.won)
    for change, other in zip(there.auc, back.auc, strict=True):
        assert change.difference == -other.difference
        if change.standard_error is not None and other.standard_error is not None:
            assert change.standard_error == pytest.approx(other.standard_error, abs=1e-12)


@given(PAIRED, st.floats(0.1, 5))
def test_differences_are_those_of_the_auc(errors: list[tuple[float, float]], better: float) -> None:
    mine, theirs = map(list, zip(*errors, strict=True))
    found = only(scores(mine), scores(theirs, "b"))
    assert [change.at for change in found.auc] == [1, 2, 3, 5, 10, 20]
    for change in found.auc:
        assert (change.first, change.second) == (*error_auc(mine, [change.at]), *error_auc(theirs, [change.at]))
    closer = only(scores([max(0.0, error - better) for error in theirs]), scores(theirs, "b"))
    assert closer.lost == 0 and all(change.difference >= 0 for change in closer.auc)


def test_pairs_are_won_and_lost_by_their_errors_and_failures_are_ties() -> None:
    found = only(scores([1.0, 5.0, 3.0, 180.0, 30.0, 19.0]), scores([2.0, 4.0, 3.0, 25.0, math.inf, 180.0], "b"))
    assert (found.pairs, found.won, found.lost) == (6, 2, 1)  # past 20 degrees no pose is better than another


def test_homographies_are_compared_at_pixels() -> None:
    found = only(scores([1.0, math.inf], estimator="homography"), scores([4.0, 2.0], "b", "homography"))
    assert [change.at for change in found.auc] == [3, 5, 10]


def test_the_standard_error_is_that_of_repeated_draws_and_paired() -> None:
    """A thousand sets of pairs, with results that agree on which pair is hard, vary as one set says it."""
    random = np.random.default_rng(0)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        hard = random.exponential(8, count)
        return hard * random.uniform(0.7, 1.1, count), hard * random.uniform(0.8, 1.3, count)

    differences, said, apart = [], [], []
    for _ in range(1000):
        first, second = drawn(96)
        differences.append(error_auc(first.tolist(), [10])[0] - error_auc(second.tolist(), [10])[0])
        if len(said) < 50:
            said.append(jackknife(first, second, [10])[0])
            apart.append(jackknife(first, random.permutation(second), [10])[0])
    assert np.mean([error for error in said if error]) == pytest.approx(np.std(differences), rel=0.1)
    assert np.mean([error for error in apart if error]) > 3 * np.std(differences)


def test_only_shared_pairs_and_estimators_count_and_the_rest_is_told() -> None:
    first = scores([1.0, 2.0, 3.0])
    second = Scores("scene", "b", "832 px", {"poselib": {("0a", "0b"): 4.0, ("9a", "9b"): 1.0}, "ransac": {}})
    found = only(first, second)
    assert (found.pairs, found.won) == (1, 1)
    told = unlike(first, second)
    assert told == (
        "scene: a was measured at 640 px, b at 832 px",
        "scene: 3 of 4 pairs have only one result and are left out",
    )
    assert unlike(first, first) == ()
    with pytest.raises(EvaluateError, match="scene: a and b have no pair in common"):
        compare(first, Scores("scene", "b", "640 px", {"poselib": {("9a", "9b"): 1.0}}))


def matches(count: int, seed: int) -> PairMatches:
    """Random points: what matters here is that results are the same or not."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, 280, (2, count, 2)).astype(np.float32)
    return PairMatches(points[0], points[1], np.ones(count, np.float32), np.zeros(count, np.uint8))


@pytest.fixture
def folder(pose_folder: Path) -> PoseFolder:
    return read_pose_folder(pose_folder)


def write_lines(path: Path, *records: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_results_read_again_are_the_results(folder: PoseFolder, tmp_path: Path) -> None:
    done = evaluate(folder, "mine", lambda name0, name1: matches(40, int(name0[1])), 384)
    other = evaluate(folder, "other", lambda name0, name1: matches(40, 9), 384)
    lines = [*pair_records(done), *pair_records(other), *total_records(done), *total_records(other)]
    stored = read_scores(write_lines(tmp_path / "r.jsonl", *lines))
    assert stored == {folder.name: scores_of(done)}  # the first matcher of the file
    assert list(stored[folder.name].errors) == list(installed_estimators())
    for found in compare(scores_of(done), stored[folder.name]):
        assert all(change.difference == change.standard_error == 0 for change in found.auc)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "contains no pairs"),
        ("{", r"r\.jsonl:1: not a line of JSON"),
        ("[1]", r"r\.jsonl:1: not a line of JSON"),
        ('{"event": "pair"}', "no 'benchmark'"),
        ('{"event": "pair", "benchmark": "s", "matcher": "a", "name0": "x"}', "no 'name1'"),
        ('{"event": "pair", "benchmark": "s", "matcher": "a", "name0": "x", "name1": "y", "ransac": 3}', "broken line"),
        ("\xff", "cannot be read|not a line"),
    ],
)
def test_broken_results_are_named(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "r.jsonl").write_bytes(text.encode("latin-1"))
    with pytest.raises(EvaluateError, match=part):
        read_scores(tmp_path / "r.jsonl")


def write_matches_of(path: Path, seeds: Sequence[int]) -> Path:
    size = (384, 288)
    entries = [MatchEntry(f"a{k}.png", f"b{k}.png", size, size, matches(40, seed)) for k, seed in enumerate(seeds)]
    write_matches(path, [("long_side", "384")], entries)
    return path


def test_command_compares_with_matches_and_with_stored_results(pose_folder: Path, tmp_path: Path) -> None:
    mine = write_matches_of(tmp_path / "m.h5", range(4))
    other = write_matches_of(tmp_path / "o.h5", [7] * 4)
    arguments = ["eval", str(pose_folder), "--matches", str(mine), "--json"]
    first = CliRunner().invoke(app, [*arguments, "--against", str(other)])
    assert first.exit_code == 0, first.output
    rows = [json.loads(line) for line in first.stdout.splitlines()]
    against = [row for row in rows if row["event"] == "against"]
    assert [row["estimator"] for row in against] == list(installed_estimators())
    assert {(row["first"], row["second"], row["pairs"]) for row in against} == {("m", "o", 4)}
    assert {row["matcher"] for row in rows if row["event"] == "total"} == {"m", "o"}
    # That output, whose first matcher is m, as the other side.
    (tmp_path / "first.jsonl").write_text(first.stdout)
    second = CliRunner().invoke(
        app, ["eval", str(pose_folder), "--matches", str(other), "--json", "--against", str(tmp_path / "first.jsonl")]
    )
    back = [json.loads(line) for line in second.stdout.splitlines() if '"against"' in line]
    for row, swapped in zip(against, back, strict=True):
        assert (row["won"], row["lost"]) == (swapped["lost"], swapped["won"])
        assert [at["difference"] for at in row["auc"]] == [-at["difference"] for at in swapped["auc"]]


def test_command_prints_a_table_of_differences(pose_folder: Path, tmp_path: Path) -> None:
    mine = write_matches_of(tmp_path / "m.h5", range(4))
    result = CliRunner().invoke(app, ["eval", str(pose_folder), "--matches", str(mine), "--against", str(mine)])
    assert result.exit_code == 0, result.output
    assert "m against m (2)" in result.stdout
    assert result.stdout.count("+0.0 ± 0.0") == 6  # of one estimator, the one that decides


def test_command_compares_weights_on_the_same_pairs(pose_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    for name in ("first", "other"):
        save_weights(tmp_path / f"{name}.safetensors", Astr(PRESETS["astr-small"]).eval(), {})
    arguments = ["eval", str(pose_folder), "--long-side", "96", "--threshold", "0", "--device", "cpu", "--json"]
    arguments += ["--weights", str(tmp_path / "first.safetensors"), "--max-pairs", "2", "--against"]
    for name, matcher in (("first", "first (2)"), ("other", "other")):
        result = CliRunner().invoke(app, [*arguments, str(tmp_path / f"{name}.safetensors")])
        assert result.exit_code == 0, result.output
        rows = [json.loads(line) for line in result.stdout.splitlines()]
        found = {row["matcher"]: row["matches"] for row in rows if row["event"] == "total"}
        assert list(found) == ["first", matcher]
        assert (found["first"] == found[matcher]) == (name == "first")
        against = [row for row in rows if row["event"] == "against"]
        assert [row["pairs"] for row in against] == [2] * len(installed_estimators())
        if name == "first":
            assert all(at["difference"] == at["standard_error"] == 0 for row in against for at in row["auc"])


def test_command_refuses_rivals_that_cannot_be_compared(
    pose_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = write_matches_of(tmp_path / "m.h5", range(4))
    arguments = ["eval", str(pose_folder), "--matches", str(mine), "--against"]
    record = {"event": "pair", "benchmark": "elsewhere", "matcher": "a", "name0": "x", "name1": "y", "corner_error": 1}
    stored = write_lines(tmp_path / "r.jsonl", record)
    assert run([*arguments, "no-such-weights"]) == 2
    assert run([*arguments, str(tmp_path / "none.h5")]) == 2
    assert run([*arguments, str(tmp_path / "none.jsonl")]) == 2
    assert run([*arguments, str(stored)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
    assert len(lines) == 4
    assert "contains no pairs of scene, only of elsewhere" in lines[3]


def test_what_against_names_is_told_by_its_ending(tmp_path: Path) -> None:
    assert find_rival("some/m.h5").matches == Path("some/m.h5")
    assert find_rival("astr-small").weights == "astr-small"
    record = {"event": "pair", "benchmark": "s", "matcher": "a", "name0": "x", "name1": "y", "corner_error": None}
    found = find_rival(str(write_lines(tmp_path / "r.jsonl", record)))
    assert found.scores["s"].errors == {"homography": {("x", "y"): math.inf}}


def test_rendered_scenes_tell_true_matches_from_random_ones(folder: PoseFolder, scene: ScenePair) -> None:
    """By the whole path: true points against random ones win every pair."""
    depth = scene.depth0[:, ::4, ::4]
    random = evaluate(folder, "random", lambda name0, name1: matches(40, 3), 384)

    def true(name0: str, name1: str) -> PairMatches:
        k = int(name0[1])
        y, x = np.mgrid[0:288:4, 0:384:4].astype(np.float32)
        known = depth[k].numpy() > 0
        pixels = np.stack((x, y, np.ones_like(x)), axis=-1)[known]
        rays = (pixels * depth[k].numpy()[known][:, None]) @ np.linalg.inv(scene.intrinsics0[k].numpy()).T
        pose = scene.pose[k].numpy()
        seen = (rays @ pose[:3, :3].T + pose[:3, 3]) @ scene.intrinsics1[k].numpy().T
        front = seen[:, 2] > 0.1
        points1 = (seen[front, :2] / seen[front, 2:]).astype(np.float32)
        count = len(points1)
        return PairMatches(pixels[front, :2], points1, np.ones(count, np.float32), np.zeros(count, np.uint8))

    for found in compare(scores_of(evaluate(folder, "true", true, 384)), scores_of(random)):
        assert (found.won, found.lost) == (4, 0)
        assert found.auc[-1].difference > 0.9
