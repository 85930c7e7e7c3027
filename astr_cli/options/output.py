"""What commands print, and how."""

from dataclasses import dataclass

from astr_cli.options.option import option


@dataclass(frozen=True)
class JsonOption:
    """For commands that print results only."""

    as_json: bool = option(False, name="json", help="Print one JSON object per line.", stored=False)


@dataclass(frozen=True)
class OutputOptions(JsonOption):
    """For commands that work and then report."""

    quiet: bool = option(False, help="Print only warnings, errors and failures.", stored=False, short="q")
