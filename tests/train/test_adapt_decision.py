"""New weights are kept only if they are better by more than chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.adapt.decision import decide
from astr_cli.evaluate.metrics import PoseAngles
from astr_cli.evaluate.pose_folder import PosedView, PoseFolder, PoseResult
from astr_cli.evaluate.run import Evaluation
from astr_cli.pairs.reading import Pair

PAIRS = 40
ERRORS = st.lists(st.floats(0, 30), min_size=PAIRS, max_size=PAIRS)


def evaluation(errors: list[float], matches: int = 200, precision: float = 0.9) -> Evaluation[PoseResult]:
    """One result per pair, with that rotation error in degrees."""
    names = [(f"{row}a.png", f"{row}b.png") for row in range(len(errors))]
    view = PosedView(np.eye(3), np.eye(3), np.zeros(3), (64, 48))
    pairs = tuple(Pair(*both, line) for line, both in enumerate(names, 1))
    folder = PoseFolder(name="held back", root=Path(), images=Path(), pairs=pairs, views=dict.fromkeys("ab", view))
    results = tuple(
        PoseResult(*both, matches, precision, {"poselib": PoseAngles(error, 0.0)})
        for both, error in zip(names, errors, strict=True)
    )
    return Evaluation("astr", folder, 640, results, folder.totals(results), None)


@given(ERRORS)
def test_equal_results_are_no_better(errors: list[float]) -> None:
    found = decide(evaluation(errors), evaluation(errors))
    assert not found.better and found.auc.mean == found.correct.mean == 0


@given(ERRORS, st.floats(0.1, 0.6))
def test_smaller_errors_everywhere_are_better_and_larger_ones_are_not(errors: list[float], factor: float) -> None:
    errors = [3.0 + error / 6 for error in errors]
    less = [factor * error for error in errors]
    assert decide(evaluation(errors), evaluation(less)).better
    assert not decide(evaluation(less), evaluation(errors, matches=900)).better


def test_more_correct_matches_count_where_poses_stay() -> None:
    errors = np.random.default_rng(1).uniform(0, 12, PAIRS).tolist()
    assert decide(evaluation(errors), evaluation(errors, matches=260)).better
    assert not decide(evaluation(errors), evaluation(errors, matches=260, precision=0.6)).better
    assert not decide(evaluation(errors), evaluation(errors, matches=180)).better
