"""`astr eval`: how good matches are on photos with known truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from astr_cli.cli.options import Device, Scaling, Threshold, Weights

if TYPE_CHECKING:
    from astr_cli.evaluate import Comparison, Rival
    from astr_cli.evaluate.benchmark import Benchmark
    from astr_cli.evaluate.run import Evaluation, Listener


def command(
    folder: Annotated[Path, typer.Argument(help="Folder of one benchmark, or of any number of them.")],
    matches: Annotated[
        Path | None, typer.Option(help="Evaluate this matches.h5.", show_default="match the photos now")
    ] = None,
    weights: Weights = "astr-small",
    long_side: Annotated[
        int | None,
        typer.Option(help="Shrink photos to this many pixels.", show_default="640, or that of --matches"),
    ] = None,
    threshold: Threshold = 0.2,
    cameras: Annotated[
        str,
        typer.Option(help="What the matcher is told of the cameras: true (where known), none, exif, or a path."),
    ] = "true",
    scaling: Scaling = "auto",
    device: Device = "auto",
    against: Annotated[
        str | None,
        typer.Option(
            help="Also print the difference to this result on the same pairs: weights, a matches.h5, or a .jsonl file "
            "of an earlier --json."
        ),
    ] = None,
    ransac_px: Annotated[
        float, typer.Option(help="Inlier threshold of relative poses, in pixels of the matched size.")
    ] = 0.5,
    sift: Annotated[bool, typer.Option("--sift", help="Add OpenCV's SIFT on the same resized photos.")] = False,
    max_pairs: Annotated[
        int | None,
        typer.Option(
            help="Take this many evenly spaced pairs of each benchmark, for a quick look.", show_default="all"
        ),
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Draw each pair's matches into this folder, coloured by error.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: pairs, then totals.")] = False,
) -> int:
    """Measure matches against the truth that comes with photos: every benchmark in a folder, one table a kind.

    Known are folders with gt.json (true cameras, homographies or dense disparity), HPatches sequences, and the index
    files of MegaDepth-1500 and ScanNet-1500.

    Pose AUC is over all pairs, a failed pose counting 180 degrees. Poses come from PoseLib, whose figures are the ones
    to compare, and from OpenCV's RANSAC and MAGSAC. Precision is the share of matches whose symmetric squared epipolar
    distance, in normalised coordinates, is below 1e-4. Homographies come from RANSAC at 3 px, a failed one counting as
    infinitely far off. Pixels are always those of the matched size.

    Examples:

    astr eval scenes/fountain-P11 --sift

    astr eval scenes/fountain-P11 --matches m.h5 --plots drawings/

    astr eval data/ --sift --max-pairs 10

    astr eval validation/ --weights new.safetensors --against astr-small

    Exit codes: 0 done; 2 nothing was started; 4 or 130 stopped.
    """
    from astr_cli.cli import eval_output
    from astr_cli.evaluate import find_rival, with_ransac_px
    from astr_cli.evaluate.readers.find import find_benchmarks

    rival = None if against is None else find_rival(against)
    request = Request(matches, weights, long_side, threshold, cameras, scaling, device, sift, as_json, rival)
    found = [with_ransac_px(benchmark, ransac_px) for benchmark in find_benchmarks(folder)]
    if max_pairs is not None:
        found = [benchmark.thinned(max_pairs) for benchmark in found]
    if matches is not None:
        _require_one(found, folder, "--matches")
    if rival is not None and rival.matches is not None:
        _require_one(found, folder, "--against with matches")
    done: list[Evaluation[Any]] = []
    compared: list[Comparison] = []
    for benchmark in found:
        if len(found) > 1 and not as_json:
            eval_output.announce(benchmark)
        target = plots / benchmark.name if plots is not None and len(found) > 1 else plots
        evaluations = []
        for evaluation in _evaluations(benchmark, request, target):
            evaluations.append(evaluation)
            if as_json:
                eval_output.print_pairs(evaluation)
        done += evaluations
        if rival is not None:
            compared += _compared(evaluations, rival)
    eval_output.tell_missing(found)
    if as_json:
        eval_output.print_totals(done)
    else:
        eval_output.print_tables(done)
    eval_output.print_comparisons(compared, as_json)
    return 0


class Request(NamedTuple):
    """What was asked of every benchmark."""

    matches: Path | None
    weights: str
    long_side: int | None
    threshold: float
    cameras: str
    scaling: Literal["auto", "off"]
    device: str
    sift: bool
    quiet: bool
    rival: "Rival | None" = None


def _require_one(found: "list[Benchmark[Any]]", folder: Path, option: str) -> None:
    from astr_cli.evaluate.benchmark import EvaluateError

    if len(found) > 1:
        names = ", ".join(benchmark.name for benchmark in found[:3]) + (", ..." if len(found) > 3 else "")
        raise EvaluateError(
            f"{folder}: holds {len(found)} benchmarks ({names}); {option} is for one of them: name its folder"
        )


def _evaluations(benchmark: "Benchmark[Any]", request: Request, plots: Path | None) -> "Iterator[Evaluation[Any]]":
    """That of astr, or of the file; of its rival, unless stored; then that of SIFT, all on the same pairs."""
    from astr_cli.cli import console
    from astr_cli.evaluate.run import evaluate
    from astr_cli.evaluate.sift import SiftMatcher

    if request.matches is None:
        first = _matched_now(benchmark, request, plots)
    else:
        first = _from_file(benchmark, request.matches, request.long_side, plots)
    for warning in first.warnings:
        console.warn(warning)
    yield first
    benchmark = first.benchmark
    if request.rival is not None and not request.rival.scores:
        yield _of_rival(first, request, request.rival)
    if request.sift:
        matcher = SiftMatcher(benchmark.images, first.long_side)
        draw = _drawing(benchmark, plots, "sift", first.long_side)
        yield evaluate(benchmark, "sift", matcher.match, first.long_side, draw)


def _of_rival(first: "Evaluation[Any]", request: Request, rival: "Rival") -> "Evaluation[Any]":
    """What --against names, evaluated on the pairs of `first`, and under another name than that."""
    from dataclasses import replace

    from astr_cli.cli import console

    if rival.matches is not None:
        second = _from_file(first.benchmark, rival.matches, None, None)
    else:
        asked = request._replace(weights=rival.weights or "", long_side=first.long_side)
        second = _matched_now(first.benchmark, asked, None)
    for warning in second.warnings:
        console.warn(warning)
    return replace(second, matcher=f"{second.matcher} (2)") if second.matcher == first.matcher else second


def _compared(evaluations: "list[Evaluation[Any]]", rival: "Rival") -> "tuple[Comparison, ...]":
    """The first of a benchmark's evaluations against its rival, which is the second unless it was stored."""
    from astr_cli.cli import console
    from astr_cli.evaluate import compare, scores_of, stored_scores, unlike

    first = scores_of(evaluations[0])
    if not first.errors:
        console.warn(f"{first.benchmark}: --against compares poses and homographies only")
        return ()
    second = stored_scores(rival, evaluations[0].benchmark) if rival.scores else scores_of(evaluations[1])
    for warning in unlike(first, second):
        console.warn(warning)
    return compare(first, second)


def _matched_now(benchmark: "Benchmark[Any]", request: Request, plots: Path | None) -> "Evaluation[Any]":
    from astr_cli.cli.match_output import make_report
    from astr_cli.evaluate.run import evaluate_astr, match_options, scratch_folder

    long_side = request.long_side or 640
    draw = _drawing(benchmark, plots, Path(request.weights).stem, long_side)
    with scratch_folder() as scratch, make_report(False, request.quiet) as report:
        options = match_options(
            benchmark,
            Path(scratch),
            request.weights,
            long_side,
            request.threshold,
            request.device,
            request.cameras,
            request.scaling,
        )
        return evaluate_astr(benchmark, options, report.event, draw)


def _from_file(benchmark: "Benchmark[Any]", path: Path, long_side: int | None, plots: Path | None) -> "Evaluation[Any]":
    from astr_cli.evaluate.benchmark import EvaluateError
    from astr_cli.evaluate.run import evaluate_file
    from astr_cli.evaluate.stored_matches import long_side_of

    found = long_side_of(path)
    if long_side is not None and long_side != found:
        raise EvaluateError(f"{path}: was matched at --long-side {found}, not {long_side}; leave the option out")
    return evaluate_file(benchmark, path, path.stem, _drawing(benchmark, plots, path.stem, found))


def _drawing(benchmark: "Benchmark[Any]", plots: Path | None, matcher: str, long_side: int) -> "Listener":
    """Draws each outcome, where the user asked for plots."""
    if plots is None:
        return lambda outcome: None
    from astr_cli.evaluate.plots import Plotter

    return Plotter(benchmark, plots, matcher, long_side).draw
