"""What `astr reconstruct` prints: plain lines and a table of the pairs, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from astr_cli.cli import console
from astr_cli.cli.match_output import Report, summary_lines
from astr_cli.cli.sfm_output import LISTED, dense_lines, import_lines
from astr_cli.sfm.pair_figures import PairFigures, doubtful_pairs
from astr_cli.sfm.summaries import database_record, pair_record, plain

if TYPE_CHECKING:
    from astr_cli.sfm import ModelSummary
    from astr_cli.sfm.georeference import Georeference
    from astr_cli.sfm.reconstruct import ReconstructSummary

ROWS = 20  # of the table; the file has all


def print_reconstruction(summary: ReconstructSummary, report: Report, as_json: bool, quiet: bool) -> None:
    """Matches, database, model, pairs, and the commands to run next; failed pairs by `report`, the one of matching."""
    model = summary.model
    (report if as_json else Report()).summary(summary.matching)
    for warning in [*summary.pairs.warnings, *summary.database.warnings, *model_warnings(model)]:
        console.warn(warning)
    for warning in pair_warnings(summary.figures):
        console.warn(warning)
    if as_json:
        console.json_line({"event": "imported", **database_record(summary.database)})
        console.json_line({"event": "mapped", **plain(asdict(model))})
        console.json_line({"event": "image_pairs", "pairs": [pair_record(pair) for pair in summary.figures]})
    elif not quiet:
        matches = [line for line in summary_lines(summary.matching) if not line.startswith("next:")]
        for line in [*matches, *import_lines(summary.database), *model_lines(model)]:
            print(line)
        _print_pairs(summary.figures)
        print(f"{summary.file}: all of this, every pair included")
        print("next, for a dense cloud (COLMAP with CUDA):")
        for line in dense_lines(summary.database.images_root, model.folder, model.folder.parent.parent / "dense"):
            print(f"  {line}")


def model_lines(model: ModelSummary) -> Iterator[str]:
    """The content of the model."""
    yield (
        f"{model.folder}: {len(model.registered)} of {model.images} images registered, {model.points} points, "
        f"mean track {model.mean_track:.2f}, reprojection error {model.reprojection_error:.2f} px"
    )
    place = model.georeference
    if place is not None:
        yield (
            f"{model.folder}: in metres east, north and up of {place.latitude:.7f}, {place.longitude:.7f}, "
            f"{place.altitude:.1f} m; {place.within} of {place.photos} photos within 10 m of their GPS position, "
            f"{place.median_error:.2f} m in the median"
        )


def model_warnings(model: ModelSummary) -> Iterator[str]:
    """The images without a pose, models that did not join, and a place that is not sure."""
    if model.missing:
        more = f" and {len(model.missing) - LISTED} more" if len(model.missing) > LISTED else ""
        yield f"not registered: {', '.join(model.missing[:LISTED])}{more}"
    if model.models > 1:
        yield f"{model.models} models came out that share too little to be joined; {model.folder} is the largest"
    if model.georeference is not None:
        yield from _place_warnings(model.georeference)


def _place_warnings(place: Georeference) -> Iterator[str]:
    if place.on_a_line:
        yield "the photos were taken along a line: the model's tilt about it is not known from GPS"
    if place.within < place.photos:
        yield f"{place.photos - place.within} of {place.photos} photos lie more than 10 m from their GPS position"


def pair_warnings(figures: Sequence[PairFigures]) -> Iterator[str]:
    """Pairs that repeated structure may have fooled."""
    found = doubtful_pairs(figures)
    if found:
        named = ", ".join(f"{pair.name0} and {pair.name1}" for pair in found[:LISTED])
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        yield (
            f"{len(found)} pairs match well but contradict the model, as look-alikes do (repeated facades): {named}"
            f"{more}; leave wrong ones out of the pairs, or the model may be folded"
        )


def _print_pairs(figures: Sequence[PairFigures]) -> None:
    """A table of all pairs, or of the weakest."""
    shown = figures
    title = f"{len(figures)} pairs"
    if len(figures) > ROWS:
        shown = sorted(figures, key=lambda pair: (not pair.doubtful, pair.ratio))[:ROWS]
        title = f"the {ROWS} weakest of {len(figures)} pairs"
    table = Table("", "", title=title)
    for heading in ("matches", "inliers", "%", "% in the model"):
        table.add_column(heading, justify="right")
    for pair in shown:
        agreeing = "" if pair.agreeing is None else f"{100 * pair.agreeing:.0f}{' !' if pair.doubtful else ''}"
        table.add_row(pair.name0, pair.name1, str(pair.matches), str(pair.inliers), f"{100 * pair.ratio:.0f}", agreeing)
    Console(highlight=False, markup=False).print(table)
