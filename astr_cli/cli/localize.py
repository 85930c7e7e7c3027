"""`astr localize`: where new photos were taken, in an existing model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.localize import LocalizeOptions
from astr_cli.options.output import OutputOptions

if TYPE_CHECKING:
    from astr_cli.sfm.localization.results import Localized


def command(options: LocalizeOptions, output: OutputOptions) -> int:
    """Find the camera poses of new photos in an existing COLMAP model, which stays as it is.

    Each photo of QUERIES is matched with the photos of the model most similar to it; the model's points that they show
    give its pose. OUT gets poses.txt (name, qw qx qy qz, tx ty tz, from world to camera, as hloc writes it), the model
    with the queries added in sparse/0, and pairs.txt and matches.h5, from which the same command resumes.

    Examples:

    astr localize queries/ --model model/sparse/0 --images photos/ --out localized/

    astr localize queries/ --model sparse/0 --images photos/ --out localized/ --query-cameras cameras.txt

    Exit codes: 0 = done; 2 = nothing was started; 3 = done, but some queries have no pose; 4 = stopped because disk or
    memory is full, 130 = stopped by a signal (the same command resumes).
    """
    from astr_cli.cli import console
    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.sfm_output import progress_line, stoppable
    from astr_cli.sfm.localization.localize import localize

    with (
        stoppable(f"{options.out}: stopped; run the same command again to resume") as stop,
        make_report(output.as_json, output.quiet) as report,
    ):
        summary = localize(options, report.event, progress_line(output.as_json, output.quiet), stop)
    placed = sum(query.reason is None for query in summary.queries)
    for query in summary.queries:
        if output.as_json:
            console.json_line({"event": "localized", **query._asdict()})
        elif query.reason is not None:
            console.warn(f"{query.name}: not localized: {query.reason}")
        elif not output.quiet:
            print(_line(query))
    if not output.as_json and not output.quiet:
        print(f"{summary.out}: {placed} of {len(summary.queries)} photos localized; poses.txt, sparse/0")
    return 3 if placed < len(summary.queries) else 0


def _line(query: Localized) -> str:
    return (
        f"{query.name}: {query.inliers:,} of {query.matches:,} matches with the model agree, {query.error:.2f} px; "
        f"focal length {query.focal:.0f} px"
    )
