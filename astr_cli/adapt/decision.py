"""Whether new weights are better than old ones on the pairs held back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from astr_cli.evaluate.comparison import compare
from astr_cli.evaluate.pose_folder import PoseResult, PoseTotals
from astr_cli.evaluate.records import scores_of
from astr_cli.evaluate.run import Evaluation

AT = 10.0  # degrees, the AUC of all decisions in this project


class Gain(NamedTuple):
    """A difference, new minus old, over the same pairs."""

    mean: float
    standard_error: float

    @property
    def certain(self) -> bool:
        """Whether it is more than its standard error."""
        return self.mean > self.standard_error

    @property
    def no_loss(self) -> bool:
        """Whether a loss is at most its standard error."""
        return self.mean >= -self.standard_error


@dataclass(frozen=True)
class Decision:
    """Old and new weights on the pairs held back."""

    pairs: int
    before: PoseTotals
    after: PoseTotals
    auc: Gain
    """Of the pose AUC at 10 degrees, 0 to 1."""
    correct: Gain
    """Of the natural logarithm of the number of correct matches per pair."""

    @property
    def better(self) -> bool:
        """Better poses; or poses as good, and more correct matches."""
        return self.auc.certain or (self.auc.no_loss and self.correct.certain)


def decide(old: Evaluation[Any], new: Evaluation[Any]) -> Decision:
    """Compares by the most important installed estimator. Both must have the same pairs, at least two."""
    first = compare(scores_of(new), scores_of(old))[0]
    change = next(change for change in first.auc if change.at == AT)
    auc = Gain(change.difference, change.standard_error or math.inf)
    logs = np.array(
        [math.log((correct(b) + 1) / (correct(a) + 1)) for a, b in zip(old.results, new.results, strict=True)]
    )
    gain = Gain(float(logs.mean()), float(logs.std(ddof=1) / math.sqrt(len(logs))))
    return Decision(len(logs), _totals(old), _totals(new), auc, gain)


def _totals(evaluation: Evaluation[Any]) -> PoseTotals:
    """Those of the most important estimator."""
    return next(row for row in evaluation.totals if isinstance(row, PoseTotals))


def correct(result: PoseResult) -> float:
    """The number of matches that agree with the true pose."""
    return result.precision * result.matches
