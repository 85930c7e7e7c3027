"""Running a matcher on a benchmark."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError, Outcome, PairResult, Totals
from astr_cli.matching import MatchOptions
from astr_cli.matching.events import Event, PairDone, Started
from astr_cli.matching.events import Listener as MatchListener
from astr_cli.matching.options import Scaling
from astr_cli.matching.run import match_and_discard
from astr_cli.pairs import format_pair
from astr_cli.store import MatchesFile, PairMatches

PairMatcher = Callable[[str, str], PairMatches]
Listener = Callable[[Outcome[Any]], object]
R = TypeVar("R", bound=PairResult)


@dataclass(frozen=True)
class Evaluation(Generic[R]):
    """A matcher's figures on a benchmark."""

    matcher: str
    benchmark: Benchmark[R]
    long_side: int
    results: tuple[R, ...]
    totals: tuple[Totals, ...]
    seconds: float | None  # a pair, decoding included and loading of weights not; None: not measured


def evaluate(
    benchmark: Benchmark[R],
    matcher: str,
    match: PairMatcher,
    long_side: int,
    listener: Listener = lambda outcome: None,
) -> Evaluation[R]:
    """Runs `match` (raw pixels) on every pair; `matcher` is its name, `long_side` its working size."""
    results = []
    seconds = 0.0
    for pair in benchmark.pairs:
        started = time.perf_counter()
        matches = match(pair.name0, pair.name1)
        seconds += time.perf_counter() - started
        outcome = benchmark.score(pair.name0, pair.name1, matches, long_side)
        listener(outcome)
        results.append(outcome.result)
    totals = benchmark.totals(results)
    return Evaluation(matcher, benchmark, long_side, tuple(results), totals, seconds / len(results))


def evaluate_file(
    benchmark: Benchmark[R], path: Path, matcher: str | None = None, listener: Listener = lambda outcome: None
) -> Evaluation[R]:
    """Evaluates a matches.h5 at the long side that it was matched at; a pair that it lacks has no matches.

    `matcher` is the name in the table, by default that of the file. Raises StoreError, and EvaluateError for a file
    that holds none of the pairs or photos of another size.
    """
    long_side = long_side_of(path)
    with MatchesFile(path) as file:
        match = stored_matcher(benchmark, file)
        return replace(evaluate(benchmark, matcher or path.stem, match, long_side, listener), seconds=None)


def long_side_of(path: Path) -> int:
    """The long side that a matches.h5 was matched at. Raises StoreError, or EvaluateError when it does not say."""
    with MatchesFile(path) as file:
        text = file.attributes.get("long_side", "")
    if not text.isdecimal() or int(text) < 1:
        raise EvaluateError(f"{path}: does not say its long side; make it with astr match")
    return int(text)


def stored_matcher(benchmark: Benchmark[R], file: MatchesFile) -> PairMatcher:
    """The matches of an open file; none for a pair that it lacks. Raises EvaluateError as `evaluate_file` does."""
    sizes = benchmark.sizes
    pairs = file.pairs()
    stored = {(pair.name0, pair.name1) for pair in pairs}
    for pair in pairs:
        for name, size in ((pair.name0, pair.size0), (pair.name1, pair.size1)):
            expected = sizes.get(name, size)
            if expected != size:
                raise EvaluateError(
                    f"{file.path}: {name} was matched at {size[0]}x{size[1]}, but the truth in {benchmark.root} is for "
                    f"{expected[0]}x{expected[1]}; match the photos of this folder"
                )
    if not any((a, b) in stored or (b, a) in stored for a, b in ((p.name0, p.name1) for p in benchmark.pairs)):
        raise EvaluateError(f"{file.path}: holds no pair of {benchmark.root}; match the pairs of that folder")

    def match(name0: str, name1: str) -> PairMatches:
        if (name0, name1) in stored:
            return file.read(name0, name1)
        if (name1, name0) in stored:
            found = file.read(name1, name0)
            return PairMatches(found.keypoints1, found.keypoints0, found.scores, 1 - found.reference)
        return PairMatches.empty()

    return match


def evaluate_astr(
    benchmark: Benchmark[R],
    options: MatchOptions,
    match_listener: MatchListener,
    listener: Listener = lambda outcome: None,
) -> Evaluation[R]:
    """Matches the benchmark as `options` say, and evaluates that; `options` come from `match_options`.

    The matches are taken for thrown away, so that stopping promises nothing. Raises what `match_and_discard` raises,
    and EvaluateError for a bad photo. A pair that breaks on the way has no matches.
    """
    benchmark.require_photos()
    clock = _Clock(match_listener)
    summary = match_and_discard(options, clock, f"the matching of {benchmark.name}")
    evaluation = evaluate_file(benchmark, options.out, Path(options.weights).stem, listener)
    return replace(evaluation, seconds=clock.seconds / max(1, summary.matched))


def match_options(
    benchmark: Benchmark[Any],
    scratch: Path,
    weights: str,
    long_side: int,
    threshold: float,
    device: str,
    cameras: str,
    scaling: Scaling = "auto",
) -> MatchOptions:
    """What to match a benchmark with, written into the folder `scratch`; cameras `true`: its own, if it has any."""
    pairs = scratch / "pairs.txt"
    lines = (format_pair(pair.name0, pair.name1) for pair in benchmark.pairs)
    pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if cameras == "true":
        cameras = "none"
        if benchmark.intrinsics:
            cameras = str(scratch / "cameras.txt")
            write_cameras(benchmark, scratch / "cameras.txt")
    return MatchOptions(
        pairs=pairs,
        out=scratch / "matches.h5",
        images=benchmark.images,
        weights=weights,
        long_side=long_side,
        threshold=threshold,
        cameras=cameras,
        device=device,
        scaling=scaling,
    )


def write_cameras(benchmark: Benchmark[Any], path: Path) -> None:
    """The true intrinsics as a cameras.txt with a camera for each photo, for `--cameras`."""
    lines = []
    for key, (name, matrix) in enumerate(sorted(benchmark.intrinsics.items()), 1):
        width, height = benchmark.sizes[name]
        # COLMAP puts the centre of the top-left pixel at (0.5, 0.5).
        params = (matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5)
        lines.append(f"{key} PINHOLE {width} {height} " + " ".join(repr(float(value)) for value in params))
        lines.append(f"# IMAGE {key} {name}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when its context ends."""
    return tempfile.TemporaryDirectory(prefix="astr-eval-")


class _Clock:
    """Time from the moment that everything is loaded to the last pair; events go on to another listener."""

    def __init__(self, listener: MatchListener) -> None:
        self._listener = listener
        self._start = time.perf_counter()
        self.seconds = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._start = time.perf_counter()
        elif isinstance(event, PairDone):
            self.seconds = time.perf_counter() - self._start
        self._listener(event)
