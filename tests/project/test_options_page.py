"""docs/options.md is what the declarations make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from astr_cli.cli.app import app
from astr_cli.cli.generated import add_command
from astr_cli.cli.options_page import commands, page
from astr_cli.options.option import option

DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True)
class MadeUp:
    """One option of each kind."""

    place: Path = option(help="Where.", stored=False, argument=True)
    way: Literal["this", "that"] = option("this", help="This | that.", stored=True, short="w")
    size: int | None = option(None, help="Size.", stored=True, default_text="by device")
    keep: bool = option(True, help="Keep it.", stored=False, switch=True)
    more: tuple[str, ...] = option((), help="More.", stored=False)
    secret: int = option(1, help="Not on the command line.", stored=False, hidden=True)


def made_up(options: MadeUp) -> int:
    """Do it.

    Examples:

    astr made-up x
    """
    return 0


def test_the_page_is_current() -> None:
    """If not: python -m astr_cli.cli.options_page > docs/options.md"""
    assert (DOCS / "options.md").read_text(encoding="utf-8") == page(app)


def test_every_command_and_option_is_on_it() -> None:
    found = {command.name: command for command in commands(app)}
    assert {"astr match", "astr doctor", "astr pairs spatial", "astr bench sfm"} <= found.keys()
    assert len(found["astr reconstruct"].options) > 35
    text = page(app)
    assert text.count("\n## ") == len(found)
    assert len(re.findall(r"^\| `", text, re.MULTILINE)) == sum(len(each.options) for each in found.values())


def test_what_a_table_says() -> None:
    small = typer.Typer()
    add_command(small, "made-up", made_up)
    assert page(small).split("## ")[1].splitlines() == [
        "astr made-up",
        "",
        "Do it.",
        "",
        "| option | default | effect | stored |",
        "|---|---|---|---|",
        "| `PLACE` | required | Where. |  |",
        "| `--way`, `-w`: this, that | this | This \\| that. | stored |",
        "| `--size` | by device | Size. | stored |",
        "| `--keep`, `--no-keep` | on | Keep it. |  |",
        "| `--more` | none | More. |  |",
    ]
