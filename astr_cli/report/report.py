"""The report of a reconstruction, or of a part of it: one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from astr_cli.report.contents import Describe, Described, contents
from astr_cli.report.page import asset, charts, check_page, page, write_page
from astr_cli.report.sources import find_sources


class Report(NamedTuple):
    """A written report."""

    page: Path
    size: int
    """Bytes."""
    warnings: tuple[str, ...]


def write_report(
    path: Path,
    out: Path | None = None,
    images: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    describe: Describe = lambda model: Described((), ()),
) -> Report:
    """Writes the page of OUT of `astr reconstruct`, a matches.h5, a database or a COLMAP model; nothing is computed
    again. out: None: report.html in the folder, or beside the file. images: None: the folder that the files name.
    describe: the words for a model of `astr reconstruct`.

    Raises AstrError: there is nothing to report, a file cannot be read, plotly is missing, the page cannot be written.
    """
    sources = find_sources(path)
    target = out or sources.page
    check_page(target)
    library = charts()
    found = contents(sources, images, tell, describe)
    text = page(str(found["title"]), asset("report.html"), asset("report.js"), found, library)
    write_page(target, text)
    return Report(target, len(text.encode()), tuple(found["warnings"]))
