"""`astr extend`: more photos in a finished reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.extend import ExtendOptions
from astr_cli.options.output import OutputOptions
from astr_cli.wording import counted

if TYPE_CHECKING:
    from astr_cli.sfm.extension.extend import ExtendSummary


def command(options: ExtendOptions, output: OutputOptions) -> int:
    """Add new photos to a finished reconstruction without matching and mapping the others again.

    NEW_PHOTOS is the folder of the reconstruction's photos, into which you copied more, or a folder inside it. The new
    photos get pairs by the options in OUT/options.toml; only these pairs are matched and verified. Existing keypoints
    keep number and place, and existing photos their poses; with --readjust all is adjusted at the end. OUT stays as it
    is until the new state is complete.

    Examples:

    astr extend model/ photos/

    astr extend model/ photos/second-day --readjust

    Exit codes: 0 = done; 2 = nothing was started; 3 = done, but some new photos have no pose, or some pairs failed;
    4 = stopped because disk or memory is full, 130 = stopped by a signal (the same command resumes).
    """
    from astr_cli.cli import console
    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.report import write_after
    from astr_cli.cli.sfm_output import progress_line, stoppable
    from astr_cli.sfm.extension.extend import extend

    with (
        stoppable(f"{options.out}: stopped; run the same command again to resume") as stop,
        make_report(output.as_json, output.quiet) as report,
    ):
        summary = extend(options, report.event, progress_line(output.as_json, output.quiet), stop)
    for warning in summary.warnings:
        console.warn(warning)
    for photo in summary.missing:
        console.warn(f"{photo.name}: not registered: {photo.reason}")
    if output.as_json:
        console.json_line({"event": "extended", **_record(summary)})
    elif not output.quiet:
        print(_line(summary))
    if summary.report and summary.extended is not None:
        write_after(options.out, output.as_json, output.quiet)
    failed = summary.matching is not None and bool(summary.matching.failed)
    return 3 if summary.missing or failed else 0


def _record(summary: ExtendSummary) -> dict[str, object]:
    grown = summary.extended
    return {
        "out": str(summary.out),
        "new": list(summary.new),
        "pairs": summary.pairs,
        "missing": [photo._asdict() for photo in summary.missing],
        "moved": None if grown is None else grown.moved,
        "points": None if grown is None else grown.summary.points,
    }


def _line(summary: ExtendSummary) -> str:
    grown = summary.extended
    if grown is None:
        return f"{summary.out}: has all of these photos; nothing to do"
    model, placed = (
        grown.summary,
        f"{len(summary.new) - len(summary.missing)} of {counted(len(summary.new), 'new photo')}",
    )
    return (
        f"{model.folder}: {placed} registered by {counted(summary.pairs, 'new pair')}; now "
        f"{counted(len(model.registered), 'photo')}, {model.points:,} points, reprojection error "
        f"{model.reprojection_error:.2f} px, existing photos moved by at most {grown.moved:.2g}"
    )
