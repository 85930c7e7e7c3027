"""What `astr check` prints: a table, or JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from astr_cli.cli import console
from astr_cli.wording import counted

if TYPE_CHECKING:
    from astr_cli.sfm.checks.report import FileReport

WIDTH = 160  # columns if the output is not a terminal


def print_reports(reports: Sequence[FileReport], as_json: bool, quiet: bool) -> None:
    """Prints the content and the findings of every file; unreadable files on standard error, one line each."""
    if as_json:
        for report in reports:
            texts = [{"text": finding.text} for finding in report.findings]
            record = report.record()
            record["findings"] = [each | text for each, text in zip(record["findings"], texts, strict=True)]
            console.json_line({"event": "checked", "found": report.found, **record})
    elif not quiet:
        _print_table(reports)
    for report in reports:
        if report.unreadable is not None:
            console.fail(f"{report.path}: {report.unreadable}")


def _print_table(reports: Sequence[FileReport]) -> None:
    output = Console(highlight=False)
    if not output.is_terminal:
        output = Console(highlight=False, width=WIDTH)
    readable = [report for report in reports if report.unreadable is None]
    for report in readable:
        state = "no problems" if not report.found else "problems, see below"
        counts = ((report.images, "image"), (report.pairs, "pair"), (report.matches, "match"))
        held = ", ".join(counted(count, noun) for count, noun in counts)
        output.print(escape(f"{report.path}: {report.kind}, {held}: {state}"), soft_wrap=True)
    table = Table("file", "level", "check", "count", "finding")
    table.columns[3].justify = "right"
    table.columns[2].no_wrap = True
    for report in readable:
        for finding in report.findings:
            cells = (report.path, finding.level, finding.check, str(finding.count), finding.text)
            table.add_row(*map(escape, cells))
        table.add_section()
    if table.row_count:
        output.print(table)
