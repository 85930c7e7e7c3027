"""`astr extend`: more photos in a finished reconstruction, or fewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.extend import ExtendOptions
from astr_cli.options.output import OutputOptions
from astr_cli.wording import counted

if TYPE_CHECKING:
    from astr_cli.sfm.extension.extend import ExtendSummary
    from astr_cli.sfm.extension.remove import RemoveSummary


def command(options: ExtendOptions, output: OutputOptions) -> int:
    """Add new photos to a finished reconstruction without matching and mapping the others again.

    NEW_PHOTOS is the folder of the reconstruction's photos, into which you copied more, or a folder inside it. The new
    photos get pairs by the options in OUT/options.toml; only these pairs are matched and verified. Existing keypoints
    keep number and place, and existing photos their poses; with --readjust all is adjusted at the end. astr also tries
    pairs again that failed earlier. OUT stays as it is until the new state is complete.

    With --remove, photos leave OUT with their poses, keypoints, matches and observations. Their files stay: move them
    out of the folder too, or they count as new later.

    Examples:

    astr extend model/ photos/

    astr extend model/ photos/second-day --readjust

    astr extend model/ --remove blurred.jpg --remove second-day/dark.jpg

    Exit codes: 0 = done; 2 = nothing was started; 3 = done, but some new photos have no pose, or some pairs failed;
    4 = stopped because disk or memory is full, 130 = stopped by a signal (the same command resumes).
    """
    from astr_cli.cli import console
    from astr_cli.cli.match_output import make_report
    from astr_cli.cli.report import write_after
    from astr_cli.cli.sfm_output import progress_line, stoppable
    from astr_cli.sfm.extension.extend import extend

    if options.new_photos is None:
        return _remove(options, output)
    with (
        stoppable(f"{options.out}: stopped; run the same command again to resume") as stop,
        make_report(output.as_json, output.quiet) as report,
    ):
        summary = extend(options, options.new_photos, report.event, progress_line(output.as_json, output.quiet), stop)
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


def _remove(options: ExtendOptions, output: OutputOptions) -> int:
    from astr_cli.cli import console
    from astr_cli.cli.report import write_after
    from astr_cli.cli.sfm_output import progress_line, stoppable
    from astr_cli.sfm.extension.remove import remove

    with stoppable(f"{options.out}: stopped; run the same command again") as stop:
        summary = remove(options, progress_line(output.as_json, output.quiet), stop)
    if output.as_json:
        console.json_line({"event": "removed", **_removed_record(summary)})
    elif not output.quiet:
        print(_removed_line(summary))
    if summary.report:
        write_after(options.out, output.as_json, output.quiet)
    return 0


def _removed_record(summary: RemoveSummary) -> dict[str, object]:
    left = summary.left
    return {
        "out": str(summary.out),
        "removed": list(summary.removed),
        "pairs": summary.pairs,
        "moved": None if left is None else left.moved,
        "points": None if left is None else left.summary.points,
    }


def _removed_line(summary: RemoveSummary) -> str:
    if summary.left is None:
        return f"{summary.out}: has none of these photos any more"
    model = summary.left.summary
    return (
        f"{model.folder}: {counted(len(summary.removed), 'photo')} and {counted(summary.pairs, 'pair')} removed; now "
        f"{counted(len(model.registered), 'photo')}, {model.points:,} points, reprojection error "
        f"{model.reprojection_error:.2f} px, the others moved by at most {summary.left.moved:.2g}"
    )


def _record(summary: ExtendSummary) -> dict[str, object]:
    grown = summary.extended
    return {
        "out": str(summary.out),
        "new": list(summary.new),
        "pairs": summary.pairs,
        "again": summary.again,
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
        f"{model.folder}: {placed} registered by {counted(summary.pairs, 'new pair')}{_again(summary)}; now "
        f"{counted(len(model.registered), 'photo')}, {model.points:,} points, reprojection error "
        f"{model.reprojection_error:.2f} px, existing photos moved by at most {grown.moved:.2g}"
    )


def _again(summary: ExtendSummary) -> str:
    return f", {counted(summary.again, 'pair')} that failed earlier matched again" if summary.again else ""
