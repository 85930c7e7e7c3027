"""`astr match`: matches the pairs of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.cluster import ClusterOptions
from astr_cli.options.files import PlotOption
from astr_cli.options.matching import EVERY_GPU, MatchOptions
from astr_cli.options.output import OutputOptions

if TYPE_CHECKING:
    from astr_cli.matching.run.events import Listener, MatchSummary


def command(options: MatchOptions, drawing: PlotOption, cluster: ClusterOptions, output: OutputOptions) -> int:
    """Match the pairs of a file, and write the matching points and their scores to an HDF5 file.

    PAIRS has two image names per line. You can interrupt the run at any time; run the same command again to resume.
    With a longer pairs file, only the new pairs are matched. If pairs were removed from the file, astr refuses to run
    unless you pass --prune.

    Examples:

    astr match pairs.txt --out matches.h5

    astr match pairs.txt --images photos/ --out matches.h5 --long-side 1024

    astr match pairs.txt --out matches.h5 --cameras sparse/0 --json

    astr match pairs.txt --out matches.h5 --plots drawings/

    astr match pairs.txt --out matches.h5 --tiles --masks masks/ --rotate auto

    astr match pairs.txt --out matches.h5 --ray auto

    Exit codes: 0 = done; 2 = nothing was started; 3 = done, but some pairs failed (the same command tries them again);
    4 = stopped because disk or memory is full, 130 = stopped by a signal (the same command resumes).
    """
    from astr_cli.cli.match_output import make_report
    from astr_cli.images.drawing import DrawingFolder
    from astr_cli.matching.plots import draw_pairs

    drawings = None if drawing.plots is None else DrawingFolder(drawing.plots)
    with make_report(output.as_json, output.quiet) as report:
        summary = _match(options, cluster, report.event)
        if drawing.plots is not None and drawings is not None:
            report.drawn(drawing.plots, draw_pairs(options.out, options.root, drawings))
    report.summary(summary)
    return 3 if summary.failed else 0


def _match(options: MatchOptions, cluster: ClusterOptions, listener: Listener) -> MatchSummary:
    """By one process, on a Ray cluster, or by all GPUs."""
    if cluster.ray is not None:
        from astr_cli.matching.run.ray_cluster import match_on_ray

        return match_on_ray(options, cluster, listener)
    if options.device == EVERY_GPU:
        from astr_cli.matching.run.devices import match_on_every_gpu

        return match_on_every_gpu(options, listener)
    from astr_cli.matching.run.match import match_pairs

    return match_pairs(options, listener)
