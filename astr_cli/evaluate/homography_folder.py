"""Photos of planes with true homographies: corner error, and matches near the truth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError, Kind, PairOutcome, Size, number_pairs, read_sizes
from astr_cli.evaluate.homography import (
    CORNER_THRESHOLDS,
    PIXELS,
    corner_error,
    estimate_homography,
    oriented,
    scale_homography,
    transfer_errors,
)
from astr_cli.evaluate.metrics import Array, error_auc
from astr_cli.images.geometry import matched_size, to_matched
from astr_cli.store.types import PairMatches


@dataclass(frozen=True)
class HomographyResult:
    """The figures of one pair, in pixels of the matched size."""

    name0: str
    name1: str
    matches: int
    right: int  # matches within 3 px of the truth, in image 1
    corner_error: float  # infinite if no homography was found

    def caption(self) -> str:
        """For a drawing."""
        return f"{self.matches} matches, {self.right} within {PIXELS:g} px, corner error {self.corner_error:.1f} px"

    def record(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self) | {"corner_error": self.corner_error if math.isfinite(self.corner_error) else None}


@dataclass(frozen=True)
class HomographyTotals:
    """Figures over all pairs, failed ones included."""

    auc3: float  # corner-error AUC at 3, 5 and 10 px of the matched size, 0 to 1
    auc5: float
    auc10: float
    right: float  # mean number of matches per pair within 3 px of the truth
    matches: float  # mean number of matches per pair


@dataclass(frozen=True, eq=False, kw_only=True)
class HomographyFolder(Benchmark[HomographyResult]):
    """Photos with true homographies."""

    kind: ClassVar[Kind] = "homography"

    photos: Mapping[str, Size]
    homographies: Mapping[tuple[str, str], Array]  # (3, 3) raw image 0 to raw image 1, `oriented`

    @property
    def sizes(self) -> Mapping[str, Size]:
        """Raw size of each photo."""
        return self.photos

    def score(self, name0: str, name1: str, matches: PairMatches, long_side: int) -> PairOutcome[HomographyResult]:
        """Corner error of the homography estimated from the matches, and the number of right matches."""
        size0, size1 = self.photos[name0], self.photos[name1]
        working0, working1 = matched_size(*size0, long_side), matched_size(*size1, long_side)
        truth = scale_homography(self.homographies[name0, name1], size0, working0, size1, working1)
        points0 = to_matched(matches.keypoints0, size0, working0).astype(np.float64)
        points1 = to_matched(matches.keypoints1, size1, working1).astype(np.float64)
        errors = transfer_errors(points0, points1, truth)
        error = corner_error(estimate_homography(points0, points1, working0), truth, working0)
        result = HomographyResult(name0, name1, len(matches), int(np.sum(errors < PIXELS)), error)
        return PairOutcome(result, matches, errors / PIXELS)

    def totals(self, results: Sequence[HomographyResult]) -> tuple[HomographyTotals, ...]:
        """The one row of the table."""
        auc3, auc5, auc10 = error_auc([result.corner_error for result in results], CORNER_THRESHOLDS)
        right = float(np.mean([result.right for result in results]))
        matches = float(np.mean([result.matches for result in results]))
        return (HomographyTotals(auc3, auc5, auc10, right, matches),)


def homography_folder(
    name: str, root: Path, images: Path, truth: Sequence[tuple[str, str, Array]], source: Path
) -> HomographyFolder:
    """A checked benchmark from (name0, name1, H) of each pair, H (3, 3) from raw image 0 to raw image 1.

    If H maps a corner of image 0 beyond the horizon, as in some wide pairs of public sets, the pair has an infinite
    corner error. Raises EvaluateError that names the `source` of the truth: a photo cannot be read, or an H is not a
    homography.
    """
    pairs = number_pairs(((name0, name1) for name0, name1, _ in truth), source)
    sizes = read_sizes(images, (name for pair in pairs for name in (pair.name0, pair.name1)), source)
    homographies = {}
    for name0, name1, matrix in truth:
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise EvaluateError(f"{source}: H of {name0} {name1} is not a 3x3 homography")
        homographies[name0, name1] = oriented(matrix, sizes[name0])
    return HomographyFolder(name=name, root=root, images=images, pairs=pairs, photos=sizes, homographies=homographies)
