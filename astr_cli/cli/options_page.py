"""docs/options.md, generated from the declared options: python -m astr_cli.cli.options_page > docs/options.md"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer

from astr_cli.cli.generated import command_of, generated, help_order
from astr_cli.options.option import Declared, choices_of

HEAD = """# Options

This page is generated from the declarations in `astr_cli/options/`. A test checks that it is current. To regenerate it:

```
python -m astr_cli.cli.options_page > docs/options.md
```

Options are in the order of the help. Names in capitals are arguments, given by position.
Every command also has `--help` and `--config FILE.toml`. Such a file contains one `name = value` per line, with the
names below without the leading dashes. The command line takes precedence.

An option marked "stored" changes results. `astr match` and `astr reconstruct` store its value with their results, and
never reuse results with another value.
"""


class Command(NamedTuple):
    """A command on the page."""

    name: str
    help: str
    """The first paragraph of its help."""
    options: tuple[Declared, ...]


def commands(app: typer.Typer, above: str = "astr") -> Iterator[Command]:
    """The commands of a program and of its groups."""
    for each in app.registered_commands:
        callback: Any = each.callback
        declared = generated(command_of(callback)).declared  # type: ignore[attr-defined]
        paragraph = inspect.cleandoc(each.help or callback.__doc__ or "").split("\n\n")[0]
        yield Command(f"{above} {each.name}", " ".join(paragraph.split()), declared)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from commands(group.typer_instance, f"{above} {group.name}")


def page(app: typer.Typer) -> str:
    """The whole page, in Markdown."""
    return "\n".join([HEAD, *("\n".join(_section(command)) for command in commands(app))])


def _section(command: Command) -> Iterator[str]:
    yield f"## {command.name}\n"
    yield f"{command.help}\n"
    yield "| option | default | effect | stored |"
    yield "|---|---|---|---|"
    for each in help_order(command.options):
        cells = (_names(each), _default(each), each.option.help, "stored" if each.option.stored else "")
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _names(each: Declared) -> str:
    """All spellings of the option, and its choices."""
    known = each.option
    if known.argument:
        return f"`{each.key.upper()}`"
    names = [f"--{each.name}"] + [f"--no-{each.name}"] * known.switch + [f"-{known.short}"] * bool(known.short)
    choices = choices_of(each.type)
    return ", ".join(f"`{name}`" for name in names) + (f": {', '.join(choices)}" if choices else "")


def _default(each: Declared) -> str:
    if each.required:
        return "required"
    if isinstance(each.default, bool):
        return "on" if each.default else "off"
    if each.default is None or each.default == ():
        return each.option.default_text or "none"
    return ", ".join(map(str, each.default)) if isinstance(each.default, tuple) else str(each.default)


if __name__ == "__main__":
    from astr_cli.cli.app import app

    print(page(app), end="")
