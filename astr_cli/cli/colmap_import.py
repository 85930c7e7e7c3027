"""`astr colmap-import`: matches to a COLMAP database."""

from __future__ import annotations

from astr_cli.options.database import ImportOptions
from astr_cli.options.output import OutputOptions


def command(options: ImportOptions, output: OutputOptions) -> int:
    """Join matches to tracks, write them to a COLMAP database, and verify its pairs; then it is ready to map.

    An existing database keeps its keypoints (SIFT, ALIKED) with their numbers, its matches, cameras, rigs, frames and
    pose priors; astr appends its own data. Data from an earlier astr import is replaced. Repeating an import changes
    nothing. The camera options apply only to images that are not in DB yet.

    Examples:

    astr colmap-import database.db

    astr colmap-import database.db --matches matches.h5 --images photos/ --camera-mode single

    astr colmap-import sift.db --dry-run

    astr colmap-import database.db --cameras cameras.txt

    astr colmap-import database.db --camera-mode per-folder --camera-model OPENCV_FISHEYE

    astr colmap-import database.db --poses sparse/0

    Exit codes: 0 = done; 2 = nothing was written; 3 = done, but no pair passed verification; 4 = disk full; 130 =
    stopped (DB is unchanged; the same command resumes).
    """
    from astr_cli.cli.sfm_output import print_difference, print_import, progress_line, stoppable
    from astr_cli.sfm.database.importing import import_matches

    with stoppable(f"{options.database}: stopped; it is unchanged; run the same command again to resume") as stop:
        summary = import_matches(options, progress_line(output.as_json, output.quiet), stop)
    if options.dry_run:
        print_difference(summary, output.as_json)
    else:
        print_import(summary, output.as_json, output.quiet, options.verify)
    return 3 if options.verify and not options.dry_run and not summary.verified.pairs else 0
