"""`astr eval`: how good matches are on photos with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astr_cli.options.evaluate import LONG_SIDE, EvalOptions
from astr_cli.options.output import JsonOption

if TYPE_CHECKING:
    from astr_cli.evaluate.benchmark import Benchmark
    from astr_cli.evaluate.run import Evaluation, Listener


def command(options: EvalOptions, output: JsonOption) -> int:
    """Measure matches against the truth that comes with photos: one table per type of benchmark in a folder.

    Known are folders with gt.json (true cameras, homographies or dense disparity), HPatches sequences, and the index
    files of MegaDepth-1500 and ScanNet-1500.

    Pose AUC is over all pairs, a failed pose counting 180 degrees; poses come from OpenCV's RANSAC and MAGSAC at
    0.5 px. Precision is the share of matches whose symmetric squared epipolar distance, in normalised coordinates, is
    below 1e-4. Homographies come from RANSAC at 3 px, a failed one counting as infinitely far off. Pixels are always
    those of the matched size.

    Examples:

    astr eval scenes/fountain-P11 --sift

    astr eval scenes/fountain-P11 --matches m.h5 --plots drawings/

    astr eval data/ --sift --max-pairs 10

    Exit codes: 0 done; 2 nothing was started; 4 or 130 stopped.
    """
    from astr_cli.cli import eval_output
    from astr_cli.evaluate.readers.find import find_benchmarks

    found = find_benchmarks(options.folder)
    if options.max_pairs is not None:
        found = [benchmark.thinned(options.max_pairs) for benchmark in found]
    if options.matches is not None:
        _require_one(found, options.folder)
    done: list[Evaluation[Any]] = []
    for benchmark in found:
        if len(found) > 1 and not output.as_json:
            eval_output.announce(benchmark)
        plots = options.plots / benchmark.name if options.plots is not None and len(found) > 1 else options.plots
        for evaluation in _evaluations(benchmark, options, plots, output.as_json):
            done.append(evaluation)
            if output.as_json:
                eval_output.print_pairs(evaluation)
    if output.as_json:
        eval_output.print_totals(done)
    else:
        eval_output.print_tables(done)
    return 0


def _require_one(found: list[Benchmark[Any]], folder: Path) -> None:
    from astr_cli.evaluate.benchmark import EvaluateError

    if len(found) > 1:
        names = ", ".join(benchmark.name for benchmark in found[:3]) + (", ..." if len(found) > 3 else "")
        raise EvaluateError(
            f"{folder}: holds {len(found)} benchmarks ({names}); --matches is for one of them: name its folder"
        )


def _evaluations(
    benchmark: Benchmark[Any], options: EvalOptions, plots: Path | None, quiet: bool
) -> Iterator[Evaluation[Any]]:
    """That of astr, or of the file, then that of SIFT on the same pairs."""
    from astr_cli.cli import console
    from astr_cli.evaluate.run import evaluate
    from astr_cli.evaluate.sift import SiftMatcher

    if options.matches is None:
        first = _matched_now(benchmark, options, plots, quiet)
    else:
        first = _from_file(benchmark, options.matches, options.matching.long_side, plots)
    for warning in first.warnings:
        console.warn(warning)
    yield first
    if options.sift:
        benchmark = first.benchmark
        matcher = SiftMatcher(benchmark.images, first.long_side)
        draw = _drawing(benchmark, plots, "sift", first.long_side)
        yield evaluate(benchmark, "sift", matcher.match, first.long_side, draw)


def _matched_now(benchmark: Benchmark[Any], options: EvalOptions, plots: Path | None, quiet: bool) -> Evaluation[Any]:
    from astr_cli.cli.match_output import make_report
    from astr_cli.evaluate.run import evaluate_astr, match_options, scratch_folder

    matching = options.matching
    draw = _drawing(benchmark, plots, Path(matching.weights).stem, matching.long_side or LONG_SIDE)
    with scratch_folder() as scratch, make_report(False, quiet) as report:
        return evaluate_astr(benchmark, match_options(benchmark, Path(scratch), matching), report.event, draw)


def _from_file(benchmark: Benchmark[Any], path: Path, long_side: int | None, plots: Path | None) -> Evaluation[Any]:
    from astr_cli.evaluate.benchmark import EvaluateError
    from astr_cli.evaluate.run import evaluate_file
    from astr_cli.evaluate.stored_matches import long_side_of

    found = long_side_of(path)
    if long_side is not None and long_side != found:
        raise EvaluateError(f"{path}: was matched at --long-side {found}, not {long_side}; leave the option out")
    return evaluate_file(benchmark, path, path.stem, _drawing(benchmark, plots, path.stem, found))


def _drawing(benchmark: Benchmark[Any], plots: Path | None, matcher: str, long_side: int) -> Listener:
    """Draws each outcome, where the user asked for plots."""
    if plots is None:
        return lambda outcome: None
    from astr_cli.evaluate.plots import Plotter

    return Plotter(benchmark, plots, matcher, long_side).draw
