"""Two results on the same pairs: the difference of their AUC, its standard error, and wins per pair."""

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
    """The AUC of two results up to one threshold."""

    at: float  # degrees, or pixels of the matched size
    first: float  # AUC, 0 to 1
    second: float
    standard_error: float | None  # of the difference, paired; None with a single pair

    @property
    def difference(self) -> float:
        """The first AUC minus the second."""
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """Two matchers compared with one estimator on the pairs of a benchmark that both have."""

    benchmark: str
    first: str  # names of the matchers
    second: str
    estimator: str
    pairs: int
    won: int  # pairs with the smaller error for the first; larger errors count as the last threshold
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
    """The result to compare with: exactly one of the three is given."""

    scores: Mapping[str, Scores]  # stored results, by benchmark; empty if it is one of the other two
    matches: Path | None = None
    weights: str | None = None


def find_rival(text: str) -> Rival:
    """The rival of --against: *.h5 is matches, *.jsonl or *.json results, anything else weights. Raises AstrError."""
    path = Path(text)
    if path.suffix in (".h5", ".hdf5"):
        return Rival({}, matches=path)
    if path.suffix in (".jsonl", ".json"):
        return Rival(read_scores(path))
    weights_path(text)  # reports a wrong name before any matching
    return Rival({}, weights=text)


def stored_scores(rival: Rival, benchmark: Benchmark[Any]) -> Scores:
    """The results of the rival's file on this benchmark. Raises EvaluateError."""
    if benchmark.name not in rival.scores:
        held = ", ".join(rival.scores)
        raise EvaluateError(f"--against: contains no pairs of {benchmark.name}, only of {held}; evaluate that first")
    return rival.scores[benchmark.name]


def compare(first: Scores, second: Scores) -> tuple[Comparison, ...]:
    """One comparison per common estimator. Raises EvaluateError if they have no pair in common."""
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
    """Warnings about settings or pairs that differ between the two."""
    found = []
    if first.setting != second.setting:
        found.append(
            f"{first.benchmark}: {first.matcher} was measured at {first.setting}, {second.matcher} at {second.setting}"
        )
    pairs0, pairs1 = (set().union(*scores.errors.values()) for scores in (first, second))
    alone = len(pairs0 ^ pairs1)
    if alone:
        either = len(pairs0 | pairs1)
        found.append(f"{first.benchmark}: {alone} of {either} pairs have only one result and are left out")
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
    """Standard error of AUC(errors0) - AUC(errors1) at each threshold, both (N,) of the same pairs; None with one pair.

    Each pair is left out of both once: a pair that is equally hard for both adds no uncertainty. No random
    numbers are drawn.
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
