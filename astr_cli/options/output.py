"""The options for the output of commands."""

from dataclasses import dataclass
from pathlib import Path

from astr_cli.options.option import Options, option


@dataclass(eq=False, repr=False)
class JsonOption(Options):
    """For commands that only print results."""

    as_json: bool = option(False, name="json", help="Print one JSON object per line.", stored=False)


@dataclass(eq=False, repr=False)
class OutputOptions(JsonOption):
    """For commands that also report their progress."""

    quiet: bool = option(False, help="Print only warnings, errors and failures.", stored=False, short="q")


@dataclass(eq=False, repr=False)
class ChartOption(Options):
    """For benchmarks whose results can be drawn."""

    plots: Path | None = option(None, help="Draw charts of the results into this folder.", stored=False)
