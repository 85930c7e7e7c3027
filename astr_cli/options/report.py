"""The options of `astr report`."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.matching import FILES
from astr_cli.options.option import Options, option


@dataclass(eq=False, repr=False)
class ReportOptions(Options):
    """The options of `astr report`."""

    path: Path = option(
        help="OUT of astr reconstruct, a matches.h5, a COLMAP database, or a folder with a COLMAP model.",
        stored=False,
        argument=True,
    )
    out: Path | None = option(
        None,
        help="HTML file to write.",
        stored=False,
        short="o",
        panel=FILES,
        default_text="report.html in the folder, or NAME-report.html beside the file",
    )
    images: Path | None = option(
        None,
        help="Folder of the photos.",
        stored=False,
        panel=FILES,
        default_text="where they were matched",
    )
    open: bool = option(False, help="Open the report in the browser.", stored=False)
