"""`astr check`: what is wrong with matches and databases."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(help="HDF5 files of astr, hloc, kornia or Kaggle, COLMAP databases, or folders of them."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a file on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only; the exit code tells.")] = False,
) -> int:
    """Look for what breaks a reconstruction later: in matches and databases, of astr or of any other program.

    Found are match indices out of range, undefined geometries, missing frames, clashing names, images and pairs
    without matches, pairs that come twice, points half a pixel off, and photos that nothing holds together. Nothing is
    changed. An HDF5 file of match indices is read together with the file of keypoints, named as well or beside it.

    Examples:

    astr check matches.h5 database.db

    astr check features.h5 matches.h5 --json

    Exit codes: 0 clean, if perhaps with notes; 3 something was found; 2 a file cannot be read.
    """
    from astr_cli.cli.check_output import print_reports
    from astr_cli.sfm.checks.check import check_paths

    reports = check_paths(paths)
    print_reports(reports, as_json, quiet)
    if any(report.unreadable for report in reports):
        return 2
    return 3 if any(report.found for report in reports) else 0
