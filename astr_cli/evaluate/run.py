"""Evaluating a matcher on the pairs of a folder with true poses."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from astr_cli.evaluate.folder import EvaluateError, PosedView, PoseFolder, write_cameras
from astr_cli.evaluate.metrics import (
    Array,
    PoseError,
    epipolar_errors,
    normalise,
    pose_auc,
    pose_error,
    precision,
)
from astr_cli.evaluate.pose import Estimator, estimate_pose
from astr_cli.images import scale_intrinsics, working_size
from astr_cli.matching import MatchOptions, match_pairs
from astr_cli.matching.events import Listener as MatchListener
from astr_cli.store import MatchesFile, PairMatches

PairMatcher = Callable[[str, str], PairMatches]


@dataclass(frozen=True)
class PairResult:
    """One pair's figures."""

    name0: str
    name1: str
    matches: int
    precision: float  # 0 to 1
    ransac: PoseError
    magsac: PoseError

    def error(self, estimator: Estimator) -> PoseError:
        """The pose error by one of the two estimators."""
        return self.ransac if estimator == "ransac" else self.magsac


@dataclass(frozen=True)
class PairOutcome:
    """What is known while a folder is evaluated: for plots and progress."""

    result: PairResult
    matches: PairMatches
    errors: Array  # (M,) symmetric squared epipolar distances, normalised coordinates


@dataclass(frozen=True)
class Evaluation:
    """A matcher's figures on a folder; means are over all its pairs, failed ones included."""

    matcher: str
    long_side: int
    results: tuple[PairResult, ...]
    seconds: float | None  # a pair, everything included; None: not measured

    def auc(self, estimator: Estimator) -> tuple[float, ...]:
        """Pose AUC at 5, 10 and 20 degrees, 0 to 1."""
        return pose_auc([result.error(estimator).largest for result in self.results])

    @property
    def precision(self) -> float:
        """Mean of the pairs' precision, 0 to 1."""
        return float(np.mean([result.precision for result in self.results]))

    @property
    def matches(self) -> float:
        """Mean rows a pair."""
        return float(np.mean([result.matches for result in self.results]))


def evaluate(
    folder: PoseFolder,
    matcher: str,
    match: PairMatcher,
    long_side: int,
    listener: Callable[[PairOutcome], None] = lambda outcome: None,
) -> Evaluation:
    """Runs `match` (raw pixels) on every pair of the folder; `matcher` is its name, `long_side` its working size."""
    results = []
    seconds = 0.0
    for pair in folder.pairs:
        started = time.perf_counter()
        matches = match(pair.name0, pair.name1)
        seconds += time.perf_counter() - started
        outcome = evaluate_pair(folder, pair.name0, pair.name1, matches, long_side)
        listener(outcome)
        results.append(outcome.result)
    return Evaluation(matcher, long_side, tuple(results), seconds / len(results))


def evaluate_pair(folder: PoseFolder, name0: str, name1: str, matches: PairMatches, long_side: int) -> PairOutcome:
    """Precision of a pair's matches and the pose errors that they lead to."""
    view0, view1 = folder.views[name0], folder.views[name1]
    points0 = normalise(matches.keypoints0, view0.intrinsics)
    points1 = normalise(matches.keypoints1, view1.intrinsics)
    truth = folder.truth(name0, name1)
    errors = epipolar_errors(points0, points1, truth)
    focal = (_working_focal(view0, long_side) + _working_focal(view1, long_side)) / 2
    ransac = pose_error(estimate_pose(points0, points1, focal, "ransac"), truth)
    magsac = pose_error(estimate_pose(points0, points1, focal, "magsac"), truth)
    result = PairResult(name0, name1, len(matches), precision(errors), ransac, magsac)
    return PairOutcome(result, matches, errors)


def evaluate_file(
    folder: PoseFolder,
    path: Path,
    matcher: str | None = None,
    listener: Callable[[PairOutcome], None] = lambda outcome: None,
) -> Evaluation:
    """Evaluates a matches.h5 at the long side that it was matched at; a pair that it lacks has no matches.

    `matcher` is the name in the table, by default that of the file. Raises StoreError, and EvaluateError for a file
    that holds none of the pairs or photos of another size.
    """
    long_side = long_side_of(path)
    with MatchesFile(path) as file:
        match = stored_matcher(folder, file)
        return replace(evaluate(folder, matcher or path.stem, match, long_side, listener), seconds=None)


def long_side_of(path: Path) -> int:
    """The long side that a matches.h5 was matched at. Raises StoreError, or EvaluateError when it does not say."""
    with MatchesFile(path) as file:
        text = file.attributes.get("long_side", "")
    if not text.isdecimal() or int(text) < 1:
        raise EvaluateError(f"{path}: does not say its long side; make it with astr match")
    return int(text)


def stored_matcher(folder: PoseFolder, file: MatchesFile) -> PairMatcher:
    """The matches of an open file; none for a pair that it lacks. Raises EvaluateError as `evaluate_file` does."""
    stored = {(pair.name0, pair.name1) for pair in file.pairs()}
    for pair in file.pairs():
        for name, size in ((pair.name0, pair.size0), (pair.name1, pair.size1)):
            view = folder.views.get(name)
            if view is not None and view.size != size:
                raise EvaluateError(
                    f"{file.path}: {name} was matched at {size[0]}x{size[1]}, but {folder.root / 'gt.json'} says "
                    f"{view.size[0]}x{view.size[1]}; match the photos of this folder"
                )
    if not any((a, b) in stored or (b, a) in stored for a, b in ((pair.name0, pair.name1) for pair in folder.pairs)):
        raise EvaluateError(f"{file.path}: holds no pair of {folder.pairs_file}; match that file")

    def match(name0: str, name1: str) -> PairMatches:
        if (name0, name1) in stored:
            return file.read(name0, name1)
        if (name1, name0) in stored:
            found = file.read(name1, name0)
            return PairMatches(found.keypoints1, found.keypoints0, found.scores, 1 - found.reference)
        return PairMatches.empty()

    return match


def evaluate_astr(
    folder: PoseFolder,
    options: MatchOptions,
    match_listener: MatchListener,
    listener: Callable[[PairOutcome], None] = lambda outcome: None,
) -> Evaluation:
    """Matches the folder as `options` say, and evaluates that; `options` come from `match_options`.

    Raises what `match_pairs` raises. Pairs that could not be matched count as failed.
    """
    summary = match_pairs(options, match_listener)
    evaluation = evaluate_file(folder, options.out, Path(options.weights).stem, listener)
    return replace(evaluation, seconds=summary.seconds / max(1, summary.matched))


def match_options(
    folder: PoseFolder, scratch: Path, weights: str, long_side: int, threshold: float, device: str, cameras: str
) -> MatchOptions:
    """What to match a folder with, written into the folder `scratch`; cameras `true` are those of gt.json."""
    if cameras == "true":
        write_cameras(folder, scratch / "cameras.txt")
        cameras = str(scratch / "cameras.txt")
    return MatchOptions(
        pairs=folder.pairs_file,
        out=scratch / "matches.h5",
        images=folder.images,
        weights=weights,
        long_side=long_side,
        threshold=threshold,
        cameras=cameras,
        device=device,
    )


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when its context ends."""
    return tempfile.TemporaryDirectory(prefix="astr-eval-")


def _working_focal(view: PosedView, long_side: int) -> float:
    """Mean of both axes, pixels of the matched size."""
    matrix = scale_intrinsics(view.intrinsics, view.size, working_size(*view.size, long_side))
    return float(matrix[0, 0] + matrix[1, 1]) / 2
