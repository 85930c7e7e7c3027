"""Rectified pairs with dense disparity: the sub-pixel error of matches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from astr_cli.evaluate.benchmark import Benchmark, Kind, PairOutcome, Size
from astr_cli.evaluate.disparity import disparity_at, disparity_errors
from astr_cli.evaluate.metrics import Array
from astr_cli.images.geometry import matched_size
from astr_cli.store.types import PairMatches

PIXELS = 1.0  # a match with a smaller error is right; pixels of the matched size


@dataclass(frozen=True, eq=False)
class DisparityResult:
    """The figures of one pair, in pixels of the matched size."""

    name0: str
    name1: str
    matches: int
    errors: Array  # (K,) end-point errors of the matches with known, non-occluded disparity

    @property
    def median(self) -> float | None:
        """The median error; None without errors."""
        return _median(self.errors)

    @property
    def right(self) -> float | None:
        """The share of errors below 1 px; None without errors."""
        return _right(self.errors)

    def caption(self) -> str:
        """For a drawing."""
        median, right = self.median, self.right
        if median is None or right is None:
            return f"{self.matches} matches, none with known disparity"
        known = f"{self.matches} matches, {len(self.errors)} with known disparity"
        return f"{known}: median {median:.2f} px, {100 * right:.0f}% under {PIXELS:g} px"

    def record(self) -> dict[str, object]:
        """For JSON."""
        return {
            "name0": self.name0,
            "name1": self.name1,
            "matches": self.matches,
            "known": len(self.errors),
            "median": self.median,
            "under1": self.right,
        }


@dataclass(frozen=True)
class DisparityTotals:
    """Figures over all matches with known, non-occluded disparity, in pixels of the matched size; None without any."""

    median: float | None
    under1: float | None  # share under 1 px, 0 to 1
    known: int  # number of such matches in all pairs
    matches: float  # mean number of matches per pair


@dataclass(frozen=True, eq=False, kw_only=True)
class DisparityFolder(Benchmark[DisparityResult]):
    """Rectified pairs: (x, y) of image 0 is (x - d, y) of image 1."""

    kind: ClassVar[Kind] = "disparity"

    photos: Mapping[str, Size]
    disparities: Mapping[tuple[str, str], npt.NDArray[np.floating]]  # (H, W) of image 0, NaN: unknown or occluded

    @property
    def sizes(self) -> Mapping[str, Size]:
        """Raw size of each photo."""
        return self.photos

    def score(self, name0: str, name1: str, matches: PairMatches, long_side: int) -> PairOutcome[DisparityResult]:
        """End-point errors of a pair's matches."""
        size1 = self.photos[name1]
        working1 = matched_size(*size1, long_side)
        points0, points1 = matches.keypoints0.astype(np.float64), matches.keypoints1.astype(np.float64)
        disparity = disparity_at(points0, self.disparities[name0, name1])
        errors = disparity_errors(points0, points1, disparity, (working1[0] / size1[0], working1[1] / size1[1]))
        result = DisparityResult(name0, name1, len(matches), errors[np.isfinite(errors)])
        return PairOutcome(result, matches, errors / PIXELS)

    def totals(self, results: Sequence[DisparityResult]) -> tuple[DisparityTotals, ...]:
        """One row, over the matches of all pairs together."""
        errors = np.concatenate([result.errors for result in results])
        matches = float(np.mean([result.matches for result in results]))
        return (DisparityTotals(_median(errors), _right(errors), len(errors), matches),)


def _median(errors: Array) -> float | None:
    return float(np.median(errors)) if len(errors) else None


def _right(errors: Array) -> float | None:
    return float(np.mean(errors < PIXELS)) if len(errors) else None
