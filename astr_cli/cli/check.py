"""`astr check`: finds faults in matches and databases."""

from __future__ import annotations

from astr_cli.options.files import CheckOptions


def command(options: CheckOptions) -> int:
    """Find faults in matches and databases that would break a reconstruction later, whichever program wrote them.

    Reports match indices out of range, undefined geometries, missing frames, clashing names, images and pairs without
    matches, pairs listed twice, points that are half a pixel off, and photos that no pair connects to the rest. The
    files are not changed. An HDF5 file of match indices needs its file of keypoints: give both, or keep them in one
    folder.

    Examples:

    astr check matches.h5 database.db

    astr check features.h5 matches.h5 --json

    Exit codes: 0 = no problems (notes may be printed); 3 = problems were found; 2 = a file cannot be read.
    """
    from astr_cli.cli.check_output import print_reports
    from astr_cli.sfm.checks.check import check_paths

    reports = check_paths(options.paths)
    print_reports(reports, options.as_json, options.quiet)
    if any(report.unreadable for report in reports):
        return 2
    return 3 if any(report.found for report in reports) else 0
