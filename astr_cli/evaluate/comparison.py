"""Two results on the same pairs: the difference of their AUC, how sure it is, and who does better on which pair."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError
from astr_cli.evaluate.homography import CORNER_THRESHOLDS
from astr_cli.evaluate.metrics import AUC_THRESHOLDS, FINE_THRESHOLDS, Array, error_auc
from astr_cli.evaluate.records import HOMOGRAPHY, Scores, read_scores
from astr_cli.resources import weights_path


@dataclass(frozen=True)
class Change:
    """AUC up to one threshold."""

    at: float  # degrees, or pixels of the matched size
    first: float  # AUC, 0 to 1
    second: float
    standard_error: float | None  # of the difference, paired; None with a single pair

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """Two matchers on the pairs of one benchmark that both have, by one estimator."""

    benchmark: str
    first: str  # names of the matchers
    second: str
    estimator: str
    pairs: int
    won: int  # pairs on which the first has the smaller error, errors past the last threshold counting as that
    lost: int
    auc: tuple[Change, ...]

    def record(self) -> dict[str, object]:
        """For JSON."""
        names = ("benchmark", "first", "second", "estimator", "pairs", "won", "lost")
        rows = [
            {
                "at": change.at,
                "first": change.first,
                "second": change.second,
                "difference": change.difference,
                "standard_error": change.standard_error,
            }
            for change in self.auc
        ]
        return {"event": "against", **{name: getattr(self, name) for name in names}, "auc": rows}


class Rival(NamedTuple):
    """What a result is compared with: one of the three is given."""

    scores: Mapping[str, Scores]  # stored results, by benchmark; empty for the other two
    matches: Path | None = None
    weights: str | None = None


def find_rival(text: str) -> Rival:
    """What --against names: *.h5 are matches, *.jsonl or *.json results, all else weights. Raises AstrError."""
    path = Path(text)
    if path.suffix in (".h5", ".hdf5"):
        return Rival({}, matches=path)
    if path.suffix in (".jsonl", ".json"):
        return Rival(read_scores(path))
    weights_path(text)  # a wrong name is told before anything is matched
    return Rival({}, weights=text)


def stored_scores(rival: Rival, benchmark: Benchmark[Any]) -> Scores:
    """The results of the rival's file on this benchmark. Raises EvaluateError."""
    if benchmark.name not in rival.scores:
        held = ", ".join(rival.scores)
        raise EvaluateError(f"--against: holds no pairs of {benchmark.name}, only of {held}; evaluate that first")
    return rival.scores[benchmark.name]


def compare(first: Scores, second: Scores) -> tuple[Comparison, ...]:
    """One comparison per estimator that both have. Raises EvaluateError where they have no pair in common."""
    found = []
    for estimator, errors in first.errors.items():
        others = second.errors.get(estimator, {})
        pairs = [pair for pair in errors if pair in others]
        if pairs:
            mine, theirs = (np.array([part[pair] for pair in pairs]) for part in (errors, others))
            found.append(_compare(first, second, estimator, mine, theirs))
    if first.errors and not found:
        raise EvaluateError(f"{first.benchmark}: {first.matcher} and {second.matcher} have no pair in common")
    return tuple(found)


def unlike(first: Scores, second: Scores) -> tuple[str, ...]:
    """Warnings: what the two do not share, though a comparison takes it for equal."""
    found = []
    if first.setting != second.setting:
        found.append(
            f"{first.benchmark}: {first.matcher} was measured at {first.setting}, {second.matcher} at {second.setting}"
        )
    pairs0, pairs1 = (set().union(*scores.errors.values()) for scores in (first, second))
    alone = len(pairs0 ^ pairs1)
    if alone:
        either = len(pairs0 | pairs1)
        found.append(f"{first.benchmark}: {alone} of {either} pairs have one result only and are left out")
    return tuple(found)


def _compare(first: Scores, second: Scores, estimator: str, errors0: Array, errors1: Array) -> Comparison:
    thresholds = CORNER_THRESHOLDS if estimator == HOMOGRAPHY else FINE_THRESHOLDS + AUC_THRESHOLDS
    auc0, auc1 = error_auc(errors0.tolist(), thresholds), error_auc(errors1.tolist(), thresholds)
    changes = map(Change, thresholds, auc0, auc1, jackknife(errors0, errors1, thresholds))
    capped0, capped1 = (np.minimum(errors, max(thresholds)) for errors in (errors0, errors1))
    won, lost = int(np.sum(capped0 < capped1)), int(np.sum(capped0 > capped1))
    names = (first.benchmark, first.matcher, second.matcher, estimator)
    return Comparison(*names, len(errors0), won, lost, tuple(changes))


def jackknife(errors0: Array, errors1: Array, thresholds: Sequence[float]) -> tuple[float | None, ...]:
    """Standard error of AUC(errors0) - AUC(errors1), (N,) of the same pairs, at each threshold; None with one pair.

    Each pair is left out once from both: a pair that is as hard for both says nothing about their difference. No
    random numbers are drawn.
    """
    count = len(errors0)
    if count < 2:
        return tuple(None for _ in thresholds)
    left_out0, left_out1 = (
        np.array([error_auc(np.delete(errors, row).tolist(), thresholds) for row in range(count)])
        for errors in (errors0, errors1)
    )
    left_out = left_out0 - left_out1
    spread = np.sum(np.square(left_out - left_out.mean(axis=0)), axis=0)
    return tuple(math.sqrt(float(value) * (count - 1) / count) for value in spread)
