"""Running a matcher on a benchmark."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from astr_cli.evaluate.benchmark import Benchmark, PairOutcome, PairResult, Totals
from astr_cli.evaluate.stored_matches import StoredMatches, long_side_of, other_photos
from astr_cli.matching.run.events import Event, PairDone, Started
from astr_cli.matching.run.events import Listener as MatchListener
from astr_cli.matching.run.match import match_and_discard
from astr_cli.options.evaluate import LONG_SIDE
from astr_cli.options.matching import MatchingOptions, MatchOptions
from astr_cli.options.option import take
from astr_cli.pairs.reading import format_pair
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches

PairMatcher = Callable[[str, str], PairMatches]
Listener = Callable[[PairOutcome[Any]], object]
R = TypeVar("R", bound=PairResult)


@dataclass(frozen=True)
class Evaluation(Generic[R]):
    """The figures of a matcher on a benchmark."""

    matcher: str
    benchmark: Benchmark[R]
    long_side: int
    results: tuple[R, ...]
    totals: tuple[Totals, ...]
    seconds: float | None  # per pair, with decoding but without loading the weights; None: not measured
    warnings: tuple[str, ...] = ()
    missing: int = 0  # about pairs that were left out because the matches file lacks them


def evaluate(
    benchmark: Benchmark[R],
    matcher: str,
    match: PairMatcher,
    long_side: int,
    listener: Listener = lambda outcome: None,
) -> Evaluation[R]:
    """Runs `match` (raw pixels) on every pair; `matcher` is its name, `long_side` its matched size in pixels."""
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
    benchmark: Benchmark[R],
    path: Path,
    matcher: str | None = None,
    listener: Listener = lambda outcome: None,
    absent: Literal["left out", "failed"] = "left out",
    max_sigma: float | None = None,
) -> Evaluation[R]:
    """Evaluates a matches.h5 at its own long side, on the pairs that it contains.

    `matcher` is the name in the table, by default that of the file. `absent` says whether the other
    pairs are left out, with a warning, or counted as pairs without matches. max_sigma: leave out matches that were not
    refined to it, in pixels of the photos. Raises StoreError, and EvaluateError for a
    file that contains none of the pairs or photos of another size.
    """
    long_side = long_side_of(path)
    with MatchesFile(path) as file:
        stored = StoredMatches(benchmark, file, max_sigma)
        chosen = stored.held(benchmark) if absent == "left out" else benchmark
        warnings = []
        missing = len(benchmark.pairs) - len(chosen.pairs)
        if missing:
            verb = "is" if missing == 1 else "are"
            held = f"{len(chosen.pairs)} of {len(benchmark.pairs)} pairs"
            warnings.append(f"evaluating {held}; {missing} {verb} not in {path}")
        other = other_photos(benchmark, file)
        if other is not None:
            warnings.append(other)
        done = evaluate(chosen, matcher or path.stem, stored.match, long_side, listener)
        return replace(done, seconds=None, warnings=tuple(warnings), missing=missing)


def evaluate_astr(
    benchmark: Benchmark[R],
    options: MatchOptions,
    match_listener: MatchListener,
    listener: Listener = lambda outcome: None,
) -> Evaluation[R]:
    """Matches the benchmark with `options` from `match_options`, and evaluates the matches.

    The matches are discarded afterwards, so no message promises to resume. Raises the errors of `match_and_discard`,
    and EvaluateError for a bad photo. A pair that fails counts as a pair without matches.
    """
    benchmark.require_photos()
    clock = _Clock(match_listener)
    summary = match_and_discard(options, clock, f"the matching of {benchmark.name}")
    evaluation = evaluate_file(benchmark, options.out, Path(options.weights).stem, listener, absent="failed")
    return replace(evaluation, seconds=clock.seconds / max(1, summary.matched))


def match_options(benchmark: Benchmark[Any], scratch: Path, matching: MatchingOptions) -> MatchOptions:
    """The options to match a benchmark, with output in the folder `scratch`; cameras `true`: its own, if known."""
    pairs = scratch / "pairs.txt"
    lines = (format_pair(pair.name0, pair.name1) for pair in benchmark.pairs)
    pairs.write_text("\n".join(lines) + "\n", encoding="utf-8")
    cameras = matching.cameras
    if cameras == "true":
        cameras = "none"
        if benchmark.intrinsics:
            cameras = str(scratch / "cameras.txt")
            write_cameras(benchmark, scratch / "cameras.txt")
    return take(
        MatchOptions,
        matching,
        pairs=pairs,
        out=scratch / "matches.h5",
        images=benchmark.images,
        long_side=matching.long_side or LONG_SIDE,
        cameras=cameras,
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
    """A temporary folder that is deleted at the end of the context."""
    return tempfile.TemporaryDirectory(prefix="astr-eval-")


class _Clock:
    """Measures the time from the end of loading to the last pair; passes events to another listener."""

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
