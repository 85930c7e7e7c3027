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
    """A matcher's figures on a benchmark."""

    matcher: str
    benchmark: Benchmark[R]
    long_side: int
    results: tuple[R, ...]
    totals: tuple[Totals, ...]
    seconds: float | None  # a pair, decoding included and loading of weights not; None: not measured
    warnings: tuple[str, ...] = ()
    missing: int = 0  # pairs that were left out, as the matches file lacks them


def evaluate(
    benchmark: Benchmark[R],
    matcher: str,
    match: PairMatcher,
    long_side: int,
    listener: Listener = lambda outcome: None,
) -> Evaluation[R]:
    """Runs `match` (raw pixels) on every pair; `matcher` is its name, `long_side` its matched size."""
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
) -> Evaluation[R]:
    """Evaluates a matches.h5 at the long side that it was matched at, on the pairs that it holds.

    `matcher` is the name in the table, by default that of the file. `absent` is what becomes of the other pairs:
    left out, with a warning, or counted as pairs without matches. Raises StoreError, and EvaluateError for a file
    that holds none of the pairs or photos of another size.
    """
    long_side = long_side_of(path)
    with MatchesFile(path) as file:
        stored = StoredMatches(benchmark, file)
        chosen = stored.held(benchmark) if absent == "left out" else benchmark
        warnings = []
        missing = len(benchmark.pairs) - len(chosen.pairs)
        if missing:
            verb = "is" if missing == 1 else "are"
            warnings.append(f"{len(chosen.pairs)} of {len(benchmark.pairs)} pairs; {missing} {verb} not in {path}")
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
    """Matches the benchmark as `options` say, and evaluates that; `options` come from `match_options`.

    The matches are taken for thrown away, so that stopping promises nothing. Raises what `match_and_discard` raises,
    and EvaluateError for a bad photo. A pair that breaks on the way has no matches.
    """
    benchmark.require_photos()
    clock = _Clock(match_listener)
    summary = match_and_discard(options, clock, f"the matching of {benchmark.name}")
    evaluation = evaluate_file(benchmark, options.out, Path(options.weights).stem, listener, absent="failed")
    return replace(evaluation, seconds=clock.seconds / max(1, summary.matched))


def match_options(benchmark: Benchmark[Any], scratch: Path, matching: MatchingOptions) -> MatchOptions:
    """What to match a benchmark with, written into the folder `scratch`; cameras `true`: its own, if it has any."""
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
