"""`astr eval`: how good matches are on photos with known cameras."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from astr_cli.evaluate import Evaluation, PairOutcome, PoseFolder


def command(
    folder: Annotated[Path, typer.Argument(help="Folder with gt.json, pairs.txt and images/.")],
    matches: Annotated[
        Path | None, typer.Option(help="Evaluate this matches.h5.", show_default="match the folder now")
    ] = None,
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a safetensors file.")] = "astr-small",
    long_side: Annotated[
        int | None,
        typer.Option(help="Shrink photos to this many pixels.", show_default="640, or that of --matches"),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Drop matches below this confidence, 0 to 1.")] = 0.2,
    cameras: Annotated[
        str,
        typer.Option(help="What the matcher is told of the cameras: true (those of gt.json), none, exif, or a path."),
    ] = "true",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    sift: Annotated[bool, typer.Option("--sift", help="Add OpenCV's SIFT on the same resized photos.")] = False,
    plots: Annotated[
        Path | None, typer.Option(help="Draw each pair's matches into this folder, coloured by error.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: pairs, then totals.")] = False,
) -> int:
    """Measure matches against the true cameras of a folder.

    Pose AUC is over all pairs of pairs.txt, a failed pose counting 180 degrees; poses come from OpenCV's RANSAC and
    MAGSAC at 0.5 px of the matched size. Precision is the share of matches whose symmetric squared epipolar distance,
    in normalised coordinates, is below 1e-4.

    Examples:

    astr eval scenes/fountain-P11 --sift

    astr eval scenes/fountain-P11 --matches m.h5 --plots drawings/

    Exit codes: 0 done; 2 nothing was started; 4 or 130 stopped.
    """
    from astr_cli.evaluate import read_pose_folder

    truth = read_pose_folder(folder)
    if matches is None:
        done = [_matched_now(truth, weights, long_side or 640, threshold, device, cameras, plots, as_json)]
    else:
        done = [_from_file(truth, matches, long_side, plots)]
    if sift:
        done.append(_by_sift(truth, done[0].long_side, plots))
    if as_json:
        _print_json(folder, done)
    else:
        _print_table(folder, done)
    return 0


def _matched_now(
    folder: "PoseFolder",
    weights: str,
    long_side: int,
    threshold: float,
    device: str,
    cameras: str,
    plots: Path | None,
    quiet: bool,
) -> "Evaluation":
    from astr_cli.cli.match_output import make_report
    from astr_cli.evaluate import evaluate_astr, match_options, scratch_folder

    with scratch_folder() as scratch:
        options = match_options(folder, Path(scratch), weights, long_side, threshold, device, cameras)
        draw = _Drawing(folder, plots, Path(weights).stem, long_side)
        with make_report(False, quiet) as report:
            return evaluate_astr(folder, options, report.event, draw)


def _from_file(folder: "PoseFolder", matches: Path, long_side: int | None, plots: Path | None) -> "Evaluation":
    from astr_cli.evaluate import EvaluateError, evaluate_file, long_side_of

    found = long_side_of(matches)
    if long_side is not None and long_side != found:
        raise EvaluateError(f"{matches}: was matched at --long-side {found}, not {long_side}; leave the option out")
    return evaluate_file(folder, matches, matches.stem, _Drawing(folder, plots, matches.stem, found))


def _by_sift(folder: "PoseFolder", long_side: int, plots: Path | None) -> "Evaluation":
    from astr_cli.evaluate import evaluate
    from astr_cli.evaluate.sift import SiftMatcher

    matcher = SiftMatcher(folder.images, long_side)
    return evaluate(folder, "sift", matcher.match, long_side, _Drawing(folder, plots, "sift", long_side))


class _Drawing:
    """Draws each outcome, where the user asked for plots."""

    def __init__(self, folder: "PoseFolder", plots: Path | None, matcher: str, long_side: int) -> None:
        from astr_cli.evaluate.plots import Plotter

        self._plotter = None if plots is None else Plotter(folder, plots, matcher, long_side)

    def __call__(self, outcome: "PairOutcome") -> None:
        if self._plotter is not None:
            self._plotter.draw(outcome)


def _print_table(folder: Path, done: "list[Evaluation]") -> None:
    from rich.console import Console
    from rich.table import Table

    from astr_cli.evaluate import ESTIMATORS

    title = f"{folder.name or folder}: {len(done[0].results)} pairs at {done[0].long_side} px"
    table = Table("matcher", "pose by", title=title)
    for heading in ("AUC@5", "AUC@10", "AUC@20", "precision %", "matches", "s / pair"):
        table.add_column(heading, justify="right")
    for evaluation in done:
        seconds = "" if evaluation.seconds is None else f"{evaluation.seconds:.3f}"
        shared = (f"{100 * evaluation.precision:.1f}", f"{evaluation.matches:.0f}", seconds)
        for estimator in ESTIMATORS:
            auc = (f"{100 * value:.1f}" for value in evaluation.auc(estimator))
            table.add_row(evaluation.matcher, estimator.upper(), *auc, *shared)
    Console(highlight=False).print(table)


def _print_json(folder: Path, done: "list[Evaluation]") -> None:
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.evaluate import ESTIMATORS

    for evaluation in done:
        for result in evaluation.results:
            fields = asdict(result)
            for estimator in ESTIMATORS:
                error = result.error(estimator)
                fields[estimator] = {"rotation": error.rotation, "translation": error.translation}
            console.json_line({"event": "pair", "matcher": evaluation.matcher, **fields})
    for evaluation in done:
        for estimator in ESTIMATORS:
            auc5, auc10, auc20 = evaluation.auc(estimator)
            console.json_line(
                {
                    "event": "total",
                    "folder": str(folder),
                    "matcher": evaluation.matcher,
                    "estimator": estimator,
                    "long_side": evaluation.long_side,
                    "pairs": len(evaluation.results),
                    "auc5": auc5,
                    "auc10": auc10,
                    "auc20": auc20,
                    "precision": evaluation.precision,
                    "matches": evaluation.matches,
                    "seconds_a_pair": evaluation.seconds,
                }
            )
