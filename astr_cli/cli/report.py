"""`astr report`: a page that shows a reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.output import OutputOptions
from astr_cli.options.report import ReportOptions

if TYPE_CHECKING:
    from pathlib import Path

    from astr_cli.report.contents import Described
    from astr_cli.report.report import Report
    from astr_cli.sfm.mapping.mapper import ModelSummary


def command(options: ReportOptions, output: OutputOptions) -> None:
    """Show a reconstruction in one HTML file: model, photos, pairs, figures and warnings. Needs plotly.

    The file needs no network and no other file, so you can send it by mail. It shows what is stored; nothing is
    computed again. A folder may hold an unfinished reconstruction. Photos that are gone are left blank.

    Examples:

    astr report model/ --open

    astr report matches.h5 --images photos/ --out look.html

    Exit codes: 0 = written; 2 = nothing to report, a file cannot be read, or plotly is missing.
    """
    from astr_cli.cli import console
    from astr_cli.cli.sfm_output import progress_line
    from astr_cli.report.report import write_report

    tell = progress_line(output.as_json, output.quiet)
    report = write_report(options.path, options.out, options.images, tell, described)
    if output.as_json:
        console.json_line(
            {"event": "report", "page": str(report.page), "bytes": report.size, "warnings": report.warnings}
        )
    else:
        for warning in report.warnings:
            console.warn(warning)
        if not output.quiet:
            print(report_line(report))
    if options.open:
        open_page(report.page)


def described(model: ModelSummary) -> Described:
    """A model in the words of `astr reconstruct`."""
    from astr_cli.cli.reconstruct_output import model_lines, model_warnings
    from astr_cli.report.contents import Described

    return Described(tuple(model_lines(model)), tuple(model_warnings(model)))


def report_line(report: Report) -> str:
    """The last line: where to look."""
    return f"{report.page}: open it in a browser ({report.size / 1e6:.1f} MB)"


def open_page(page: Path) -> None:
    """Opens a page in the user's browser; without one, says so."""
    import webbrowser

    from astr_cli.cli import console

    if not webbrowser.open(page.resolve().as_uri()):
        console.warn(f"{page}: no browser was found; open the file yourself")


def write_after(out: Path, as_json: bool, quiet: bool) -> None:
    """The report at the end of a reconstruction; where it cannot be made, a line says why and the result stands."""
    from astr_cli.cli import console
    from astr_cli.cli.sfm_output import progress_line
    from astr_cli.errors import AstrError
    from astr_cli.report.report import write_report

    try:
        report = write_report(out, tell=progress_line(as_json, quiet), describe=described)
    except AstrError as error:
        console.warn(f"no report: {error}")
        return
    if as_json:
        console.json_line({"event": "report", "page": str(report.page), "bytes": report.size})
    elif not quiet:
        print(report_line(report))
