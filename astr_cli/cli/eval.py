"""`astr eval`: how good matches are on photos with known truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from astr_cli.cli.options import Device, Scaling, Threshold, Weights

if TYPE_CHECKING:
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

    request = Request(matches, weights, long_side, threshold, cameras, scaling, device, sift, as_json)
    found = find_benchmarks(folder)
    if max_pairs is not None:
        found = [benchmark.thinned(max_pairs) for benchmark in found]
    if matches is not None:
        _require_one(found, folder)
    done: list[Evaluation[Any]] = []
    for benchmark in found:
        if len(found) > 1 and not as_json:
            eval_output.announce(benchmark)
        target = plots / benchmark.name if plots is not None and len(found) > 1 else plots
        for evaluation in _evaluations(benchmark, request, target):
            done.append(evaluation)
            if as_json:
                eval_output.print_pairs(evaluation)
    if as_json:
        eval_output.print_totals(done)
    else:
        eval_output.print_tables(done)
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


def _require_one(found: "list[Benchmark[Any]]", folder: Path) -> None:
    from astr_cli.evaluate.benchmark import EvaluateError

    if len(found) > 1:
        names = ", ".join(benchmark.name for benchmark in found[:3]) + (", ..." if len(found) > 3 else "")
        raise EvaluateError(
            f"{folder}: holds {len(found)} benchmarks ({names}); --matches is for one of them: name its folder"
        )


def _evaluations(benchmark: "Benchmark[Any]", request: Request, plots: Path | None) -> "Iterator[Evaluation[Any]]":
    """That of astr, or of the file, then that of SIFT on the same pairs."""
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
    if request.sift:
        benchmark = first.benchmark
        matcher = SiftMatcher(benchmark.images, first.long_side)
        draw = _drawing(benchmark, plots, "sift", first.long_side)
        yield evaluate(benchmark, "sift", matcher.match, first.long_side, draw)


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
