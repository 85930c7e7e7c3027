"""`astr eval`: measures the quality of matches on photos with ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astr_cli.options.evaluate import LONG_SIDE, EvalMatching, EvalOptions
from astr_cli.options.output import JsonOption

if TYPE_CHECKING:
    from astr_cli.evaluate.benchmark import Benchmark
    from astr_cli.evaluate.comparison import Comparison, Rival
    from astr_cli.evaluate.run import Evaluation, Listener


def command(options: EvalOptions, output: JsonOption) -> int:
    """Measure the quality of matches on photos with ground truth: one table per type of benchmark.

    astr reads folders with gt.json (true cameras, homographies or dense disparity), HPatches sequences, and the index
    files of MegaDepth-1500 and ScanNet-1500.

    Pose AUC covers all pairs; a failed pose counts as 180 degrees. Poses are estimated with PoseLib (compare these
    figures) and with OpenCV's RANSAC and MAGSAC. Precision is the share of matches whose symmetric squared epipolar
    distance, in normalised coordinates, is below 1e-4. Homographies are estimated with RANSAC at 3 px; a failed one
    counts as an infinite error. Pixels are always those of the matched size.

    Examples:

    astr eval scenes/fountain-P11 --sift

    astr eval scenes/fountain-P11 --matches m.h5 --plots drawings/

    astr eval data/ --sift --max-pairs 10

    astr eval validation/ --weights new.safetensors --against astr-small

    Exit codes: 0 = done; 2 = nothing was started; 4 or 130 = stopped.
    """
    from astr_cli.cli import eval_output
    from astr_cli.evaluate.comparison import find_rival
    from astr_cli.evaluate.pose_folder import with_ransac_px
    from astr_cli.evaluate.readers.find import find_benchmarks

    rival = None if options.against is None else find_rival(options.against)
    found = [with_ransac_px(benchmark, options.ransac_px) for benchmark in find_benchmarks(options.folder)]
    if options.max_pairs is not None:
        found = [benchmark.thinned(options.max_pairs) for benchmark in found]
    if options.matches is not None:
        _require_one(found, options.folder, "--matches")
    if rival is not None and rival.matches is not None:
        _require_one(found, options.folder, "--against with matches")
    done, compared = _evaluate_all(found, options, rival, output.as_json)
    eval_output.tell_missing(found)
    if output.as_json:
        eval_output.print_totals(done)
    else:
        eval_output.print_tables(done)
    eval_output.print_comparisons(compared, output.as_json)
    if options.plots is not None:
        _write_index(options.plots, options.folder)
    return 0


def _write_index(plots: Path, folder: Path) -> None:
    """One page of all drawings; a line on standard error says where it is."""
    from astr_cli.cli import console
    from astr_cli.report.gallery import write_gallery

    index = write_gallery(plots, f"matches of {folder.resolve().name}")
    if index is not None:
        console.note(f"{index}: all drawings on one page")


def _require_one(found: list[Benchmark[Any]], folder: Path, option: str) -> None:
    from astr_cli.evaluate.benchmark import EvaluateError

    if len(found) > 1:
        names = ", ".join(benchmark.name for benchmark in found[:3]) + (", ..." if len(found) > 3 else "")
        raise EvaluateError(
            f"{folder}: contains {len(found)} benchmarks ({names}), but {option} works for one only; give its folder"
        )


def _evaluate_all(
    found: list[Benchmark[Any]], options: EvalOptions, rival: Rival | None, as_json: bool
) -> tuple[list[Evaluation[Any]], list[Comparison]]:
    """Evaluates each benchmark in turn, and prints its pairs if they go out as JSON."""
    from astr_cli.cli import eval_output

    done: list[Evaluation[Any]] = []
    compared: list[Comparison] = []
    for benchmark in found:
        if len(found) > 1 and not as_json:
            eval_output.announce(benchmark)
        plots = options.plots / benchmark.name if options.plots is not None and len(found) > 1 else options.plots
        evaluations = []
        for evaluation in _evaluations(benchmark, options, rival, plots, as_json):
            evaluations.append(evaluation)
            if as_json:
                eval_output.print_pairs(evaluation)
        done += evaluations
        if rival is not None:
            compared += _compared(evaluations, rival)
    return done, compared


def _evaluations(
    benchmark: Benchmark[Any], options: EvalOptions, rival: Rival | None, plots: Path | None, quiet: bool
) -> Iterator[Evaluation[Any]]:
    """The results of astr or of the file, of its rival unless stored, and of SIFT, all on the same pairs."""
    from astr_cli.cli import console
    from astr_cli.evaluate.run import evaluate
    from astr_cli.evaluate.sift import SiftMatcher

    if options.matches is None:
        first = _matched_now(benchmark, options.matching, plots, quiet)
    else:
        first = _from_file(benchmark, options.matches, options.matching.long_side, plots, options.max_sigma)
    for warning in first.warnings:
        console.warn(warning)
    yield first
    benchmark = first.benchmark
    if rival is not None and not rival.scores:
        yield _of_rival(first, options.matching, rival, quiet)
    if options.sift:
        matcher = SiftMatcher(benchmark.images, first.long_side)
        draw = _drawing(benchmark, plots, "sift", first.long_side)
        yield evaluate(benchmark, "sift", matcher.match, first.long_side, draw)


def _of_rival(first: Evaluation[Any], matching: EvalMatching, rival: Rival, quiet: bool) -> Evaluation[Any]:
    """The result that --against names, evaluated on the pairs of `first` and named differently."""
    from dataclasses import replace

    from astr_cli.cli import console

    if rival.matches is not None:
        second = _from_file(first.benchmark, rival.matches, None, None)
    else:
        asked = replace(matching, weights=rival.weights or "", long_side=first.long_side)
        second = _matched_now(first.benchmark, asked, None, quiet)
    for warning in second.warnings:
        console.warn(warning)
    return replace(second, matcher=f"{second.matcher} (2)") if second.matcher == first.matcher else second


def _compared(evaluations: list[Evaluation[Any]], rival: Rival) -> tuple[Comparison, ...]:
    """The first evaluation of a benchmark compared with its rival: the stored one, or else the second evaluation."""
    from astr_cli.cli import console
    from astr_cli.evaluate.comparison import compare, stored_scores, unlike
    from astr_cli.evaluate.records import scores_of

    first = scores_of(evaluations[0])
    if not first.errors:
        console.warn(f"{first.benchmark}: not compared; --against compares only poses and homographies")
        return ()
    second = stored_scores(rival, evaluations[0].benchmark) if rival.scores else scores_of(evaluations[1])
    for warning in unlike(first, second):
        console.warn(warning)
    return compare(first, second)


def _matched_now(benchmark: Benchmark[Any], matching: EvalMatching, plots: Path | None, quiet: bool) -> Evaluation[Any]:
    from astr_cli.cli.match_output import make_report
    from astr_cli.evaluate.run import evaluate_astr, match_options, scratch_folder

    draw = _drawing(benchmark, plots, Path(matching.weights).stem, matching.long_side or LONG_SIDE)
    with scratch_folder() as scratch, make_report(False, quiet) as report:
        return evaluate_astr(benchmark, match_options(benchmark, Path(scratch), matching), report.event, draw)


def _from_file(
    benchmark: Benchmark[Any], path: Path, long_side: int | None, plots: Path | None, max_sigma: float | None = None
) -> Evaluation[Any]:
    from astr_cli.evaluate.benchmark import EvaluateError
    from astr_cli.evaluate.run import evaluate_file
    from astr_cli.evaluate.stored_matches import long_side_of

    found = long_side_of(path)
    if long_side is not None and long_side != found:
        raise EvaluateError(f"{path}: was matched at --long-side {found}, not {long_side}; leave out --long-side")
    draw = _drawing(benchmark, plots, path.stem, found)
    return evaluate_file(benchmark, path, path.stem, draw, max_sigma=max_sigma)


def _drawing(benchmark: Benchmark[Any], plots: Path | None, matcher: str, long_side: int) -> Listener:
    """Draws each outcome if the user asked for plots."""
    if plots is None:
        return lambda outcome: None
    from astr_cli.evaluate.plots import Plotter

    return Plotter(benchmark, plots, matcher, long_side).draw
