"""`astr reconstruct`: makes a COLMAP model from photos."""

from __future__ import annotations

from astr_cli.options.output import OutputOptions
from astr_cli.options.reconstruct import ReconstructOptions


def command(options: ReconstructOptions, output: OutputOptions) -> int:
    """Make a sparse model from a folder of photos: choose pairs, match them, make a COLMAP database, and map it.

    OUT gets pairs.txt, matches.h5, database.db, summary.json, options.toml, times.json, report.html and the models
    sparse/0, sparse/1, ... (largest first) in COLMAP's format; if OUT is called sparse, they are 0, 1, ... in it.
    Photos with GPS positions give a model in metres. You can interrupt it at any time; run the same command again to
    resume. `astr reconstruct --config OUT/options.toml` repeats the run.

    Examples:

    astr reconstruct photos/ --out model/

    astr reconstruct project/images --out project

    astr reconstruct photos/ --out model/ --camera-mode single --long-side 1024 --refine model

    astr reconstruct drone/ --out model/ --pairs spatial --mapper global --tiles --masks masks/

    Exit codes: 0 = done; 2 = nothing was started; 3 = no model, or --skip-bad left out photos, or some pairs failed
    (the same command tries them again); 4 = stopped because disk or memory is full, 130 = stopped by a signal (the same
    command resumes).
    """
    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.reconstruct_output import print_reconstruction
    from astr_cli.cli.report import write_after
    from astr_cli.cli.sfm_output import progress_line, stoppable
    from astr_cli.sfm.reconstruction.reconstruct import reconstruct

    with (
        stoppable(f"{options.out}: stopped; run the same command again to resume") as stop,
        make_report(output.as_json, output.quiet) as report,
    ):
        tell = progress_line(output.as_json, output.quiet)
        summary = reconstruct(options, report.event, tell, report.stop, stop)
    print_reconstruction(summary, report, output.as_json, output.quiet)
    if options.report:
        write_after(options.out, output.as_json, output.quiet)
    return 3 if summary.matching.failed or summary.skipped else 0
