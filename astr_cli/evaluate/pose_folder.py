"""Photos with true cameras: pose error and precision of matches."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError, Kind, PairOutcome, Size
from astr_cli.evaluate.metrics import (
    AUC_THRESHOLDS,
    FINE_THRESHOLDS,
    PRECISION_THRESHOLD,
    Array,
    PoseAngles,
    RelativePose,
    normalise,
    pose_auc,
    pose_error,
    precision,
    relative_pose,
    symmetric_epipolar_errors,
)
from astr_cli.evaluate.pose import PIXELS, Estimator, estimate_pose, installed_estimators
from astr_cli.images.geometry import matched_size, scale_intrinsics
from astr_cli.store.types import PairMatches


@dataclass(frozen=True, eq=False)
class PosedView:
    """The true camera of a photo."""

    intrinsics: Array  # (3, 3) of the raw photo
    rotation: Array  # (3, 3) world to camera
    translation: Array  # (3,)
    size: Size  # raw (width, height)


@dataclass(frozen=True)
class PoseResult:
    """The figures of one pair."""

    name0: str
    name1: str
    matches: int
    precision: float  # 0 to 1
    errors: Mapping[Estimator, PoseAngles]  # by the installed estimators, the most important one first

    def caption(self) -> str:
        """For a drawing."""
        turn, shift = next(iter(self.errors.values()))
        return (
            f"{self.matches} matches, precision {100 * self.precision:.0f}%, "
            f"rotation {turn:.1f}, translation {shift:.1f} degrees"
        )

    def record(self) -> dict[str, object]:
        """For JSON."""
        return {
            "name0": self.name0,
            "name1": self.name1,
            "matches": self.matches,
            "precision": self.precision,
            **{estimator: error._asdict() for estimator, error in self.errors.items()},
        }


@dataclass(frozen=True)
class PoseTotals:
    """Figures over all pairs, failed ones included, for one estimator."""

    estimator: Estimator
    ransac_px: float  # its inlier threshold, in pixels of the matched size
    auc1: float  # pose AUC at 1 to 20 degrees, 0 to 1
    auc2: float
    auc3: float
    auc5: float
    auc10: float
    auc20: float
    precision: float  # mean over the pairs, 0 to 1
    matches: float  # mean number of matches per pair


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseFolder(Benchmark[PoseResult]):
    """Photos with true cameras, and the pairs to evaluate."""

    kind: ClassVar[Kind] = "pose"

    views: Mapping[str, PosedView]
    ransac_px: float = PIXELS  # inlier threshold of the estimators, in pixels of the matched size

    @cached_property
    def sizes(self) -> Mapping[str, Size]:
        """Raw size of each photo."""
        return {name: view.size for name, view in self.views.items()}

    @property
    def intrinsics(self) -> Mapping[str, Array]:
        """True camera matrices."""
        return {name: view.intrinsics for name, view in self.views.items()}

    def truth(self, name0: str, name1: str) -> RelativePose:
        """The true relative pose of two photos of the folder."""
        view0, view1 = self.views[name0], self.views[name1]
        return relative_pose(view0.rotation, view0.translation, view1.rotation, view1.translation)

    def score(self, name0: str, name1: str, matches: PairMatches, long_side: int) -> PairOutcome[PoseResult]:
        """Precision of the matches of a pair, and errors of the poses estimated from them."""
        view0, view1 = self.views[name0], self.views[name1]
        points0 = normalise(matches.keypoints0, view0.intrinsics)
        points1 = normalise(matches.keypoints1, view1.intrinsics)
        truth = self.truth(name0, name1)
        errors = symmetric_epipolar_errors(points0, points1, truth)
        focal = (_working_focal(view0, long_side) + _working_focal(view1, long_side)) / 2
        found = {
            estimator: pose_error(estimate_pose(points0, points1, focal, estimator, self.ransac_px), truth)
            for estimator in installed_estimators()
        }
        result = PoseResult(name0, name1, len(matches), precision(errors), found)
        # The threshold is on squared distances; drawings show distances.
        return PairOutcome(result, matches, np.sqrt(errors / PRECISION_THRESHOLD))

    def totals(self, results: Sequence[PoseResult]) -> tuple[PoseTotals, ...]:
        """One row per estimator."""
        share = float(np.mean([result.precision for result in results]))
        matches = float(np.mean([result.matches for result in results]))
        rows = []
        for estimator in results[0].errors:
            errors = [result.errors[estimator].largest for result in results]
            auc1, auc2, auc3 = pose_auc(errors, FINE_THRESHOLDS)
            auc5, auc10, auc20 = pose_auc(errors, AUC_THRESHOLDS)
            auc = (auc1, auc2, auc3, auc5, auc10, auc20)
            rows.append(PoseTotals(estimator, self.ransac_px, *auc, share, matches))
        return tuple(rows)

    def require_baselines(self, source: Path) -> None:
        """Raises EvaluateError for a pair without a direction of translation."""
        for pair in self.pairs:
            if np.linalg.norm(self.truth(pair.name0, pair.name1).translation) < 1e-9:
                raise EvaluateError(
                    f"{source}:{pair.line}: {pair.name0} and {pair.name1} were taken from the same place, which "
                    "has no direction of translation; leave the pair out"
                )


def with_ransac_px(benchmark: Benchmark[Any], pixels: float) -> Benchmark[Any]:
    """The benchmark with this inlier threshold for poses, in pixels of the matched size. Raises EvaluateError."""
    if not 0 < pixels < math.inf:
        raise EvaluateError(f"--ransac-px {pixels:g}: give a number of pixels above 0")
    return replace(benchmark, ransac_px=pixels) if isinstance(benchmark, PoseFolder) else benchmark


def posed_view(intrinsics: Any, rotation: Any, translation: Any, size: Any, where: str) -> PosedView:
    """A checked camera from the content of a file. Raises EvaluateError with a message that begins with `where`."""
    try:
        view = PosedView(
            np.asarray(intrinsics, np.float64),
            np.asarray(rotation, np.float64),
            np.asarray(translation, np.float64).reshape(-1),
            (int(size[0]), int(size[1])),
        )
    except (KeyError, IndexError, TypeError, ValueError):
        raise EvaluateError(f"{where}: expected numbers for K (3x3), R (3x3), t (3) and size (2)") from None
    parts = (view.intrinsics, view.rotation, view.translation)
    shapes = tuple(part.shape for part in parts)
    if shapes != ((3, 3), (3, 3), (3,)) or not all(np.isfinite(part).all() for part in parts):
        raise EvaluateError(f"{where}: expected finite K (3x3), R (3x3) and t (3), found {shapes}")
    if view.intrinsics[0, 0] <= 0 or view.intrinsics[1, 1] <= 0 or min(view.size) < 1:
        raise EvaluateError(f"{where}: expected a size and focal lengths above 0")
    if not np.allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-3):
        raise EvaluateError(f"{where}: R is not a rotation")
    return view


def _working_focal(view: PosedView, long_side: int) -> float:
    """Mean of both axes, pixels of the matched size."""
    matrix = scale_intrinsics(view.intrinsics, view.size, matched_size(*view.size, long_side))
    return float(matrix[0, 0] + matrix[1, 1]) / 2
