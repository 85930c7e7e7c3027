"""`astr bench sfm`: whole reconstructions, compared with COLMAP's SIFT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.bench import SfmOptions
from astr_cli.options.output import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astr_cli.bench.sfm import SfmFigures


def command(options: SfmOptions, output: JsonOption) -> int:
    """Reconstruct folders of photos with astr and with COLMAP's SIFT, and print both results side by side.

    Both use the same pairs, cameras, RANSAC settings and mapper; SIFT has COLMAP's defaults. The centre error is the
    largest distance between an estimated and a true camera centre after similarity alignment, in percent of the largest
    distance between two true centres.

    Examples:

    astr bench sfm scenes/fountain-P11 scenes/entry-P10

    astr bench sfm drone/ --pairs spatial --json

    Exit codes: 0 = done; 2 = nothing was started; 3 = astr made no model; 130 = stopped (the same command resumes).
    """
    from dataclasses import asdict

    from astr_cli.bench.sfm import bench_sfm
    from astr_cli.cli import console
    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.sfm_output import progress_line, stoppable

    message = f"{options.work}: stopped; run the same command again to resume"
    with stoppable(message) as stop, make_report(False, True) as report:
        found = bench_sfm(options, report.event, progress_line(False, output.as_json), stop)
        if output.as_json:
            for figures in found:
                console.json_line({"event": "reconstruction", **asdict(figures)})
        else:
            _print_table(found)
    return 0


def _print_table(found: Iterable[SfmFigures]) -> None:
    """A table of 80 columns; the cells of a model are blank if none was made."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("scene, pairs", "matcher", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.columns[0].overflow = "fold"
    table.columns[0].min_width = 12
    for heading in ("photos", "centre\nerror", "mean\ntrack", "error\npx", "points", "GPS: within\n10 m, median"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figures in found:
        error, place, made = figures.centre_error, figures.gps_error, figures.registered > 0
        table.add_row(
            f"{figures.scene}, {figures.pairs}",
            figures.matcher,
            f"{figures.registered} of {figures.photos}",
            "" if error is None else f"{100 * error:.3f}%",
            f"{figures.mean_track:.2f}" if made else "",
            f"{figures.reprojection:.2f}" if made else "",
            str(figures.points) if made else "",
            "" if place is None else f"{figures.gps_photos}, {place:.2f} m",
        )
    Console(highlight=False, markup=False).print(table)
