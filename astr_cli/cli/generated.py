"""The command line, generated from the declared options: the function that Typer gets for each command.

A command is a function whose parameters are classes of options (`astr_cli.options`); Typer sees a function with one
parameter per option. That function is made for the command that runs only: with the options of all commands,
`astr --help` would cost a third more.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from astr_cli.options.config_file import read_config
from astr_cli.options.matching import FILES
from astr_cli.options.option import Declared, OptionError, build, declared

CONFIG = "config"


class AstrCommand(TyperCommand):
    """A command that takes `--config`, and refuses a single-valued option given twice."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Before Typer parses: counts the options, and takes defaults from the file of `--config`."""
        refuse_former_flags(self.known, args)
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        single = [each for each in order if each.param_type_name == "option" and not each.multiple]
        for each in single:
            if single.count(each) > 1:
                raise typer.BadParameter(f"{max(each.opts, key=len)} is given more than once; give it once.")
        if values.get(CONFIG) is not None:
            ctx.default_map = {
                **(ctx.default_map or {}),
                **read_config(Path(values[CONFIG]), ctx.info_name, self.known),
            }
        return super().parse_args(ctx, args)

    @property
    def known(self) -> tuple[Declared, ...]:
        """The options of the command, without those that every command has."""
        found: tuple[Declared, ...] = self.callback.declared  # type: ignore[union-attr]
        return found


def refuse_former_flags(known: Iterable[Declared], args: Sequence[str]) -> None:
    """Raises OptionError for an option that was a flag once, and stands in `args` without a value as it did then."""
    messages = {f"--{each.name}": each.option.without_value for each in known if each.option.without_value}
    for given, after in pairwise([*args, "-"]):
        if given == "--":
            return
        if given in messages and after.startswith("-"):
            raise OptionError(messages[given])


class ListedCommand(TyperCommand):
    """A command in the list of commands: name and help. Once it is called, it becomes a command with options."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command with options."""
        return self.whole().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command with options, which made the context: where a program has this command alone."""
        return ctx.command.invoke(ctx)

    def whole(self) -> Any:
        """The command with options."""
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=self.rich_markup_mode)
        app.command(self.name, cls=AstrCommand, help=self.help)(generated(command_of(self.callback)))
        return typer.main.get_command(app)


def add_command(app: typer.Typer, name: str, command: Callable[..., int | None], help: str | None = None) -> None:
    """Registers `command`, whose parameters are classes of options, under `name`; help: None = its docstring."""

    def listed() -> None: ...

    listed.__doc__ = command.__doc__
    listed.command = command  # type: ignore[attr-defined]
    app.command(name, cls=ListedCommand, help=help)(listed)


def command_of(callback: Any) -> Callable[..., int | None]:
    """What `add_command` registered."""
    found: Callable[..., int | None] = callback.command
    return found


def generated(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """The function that Typer calls: takes one keyword per option, and gives `command` instances of its classes."""
    kinds = {name: kind for name, kind in get_type_hints(command).items() if name != "return"}
    found: dict[str, Declared] = {}
    for kind in kinds.values():
        for each in declared(kind):
            if not each.option.hidden:
                found.setdefault(each.key, each)

    def run(**values: Any) -> int | None:
        return command(**{name: build(kind, values) for name, kind in kinds.items()})

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature([*_parameters(found.values()), _CONFIG])  # type: ignore[attr-defined]
    run.declared = tuple(found.values())  # type: ignore[attr-defined]
    return run


def help_order(options: Iterable[Declared]) -> list[Declared]:
    """The options in the order of the help: arguments, files, then the rest."""
    return sorted(options, key=lambda each: (not each.option.argument, each.option.panel != FILES))


def _parameters(options: Iterable[Declared]) -> Iterator[inspect.Parameter]:
    for each in help_order(options):
        default = inspect.Parameter.empty if each.required else _default(each)
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(each.key, kind, default=default, annotation=Annotated[_type(each), _declaration(each)])


def _default(each: Declared) -> Any:
    return list(each.default) if isinstance(each.default, tuple) else each.default


def _type(each: Declared) -> Any:
    """A list instead of a tuple: Typer takes a tuple for one option with several values."""
    return list[get_args(each.type)[0]] if each.many else each.type  # type: ignore[misc]


def _declaration(each: Declared) -> Any:
    known = each.option
    if known.argument:
        return typer.Argument(help=known.help, metavar=each.key.upper())
    flags = [f"--{each.name}/--no-{each.name}" if known.switch else f"--{each.name}"]
    if known.short:
        flags.append(f"-{known.short}")
    more: dict[str, Any] = {}
    if known.default_text and (each.default is None or each.default == ()):
        more["show_default"] = known.default_text
    if known.parse is not None:
        more["parser"] = known.parse
    return typer.Option(*flags, help=known.help, rich_help_panel=known.panel, metavar=_metavar(each), **more)


def _metavar(each: Declared) -> str | None:
    """The kind of value that the help shows: nothing for a switch; None: what Typer shows for the type."""
    if each.type is bool:
        return ""
    if each.many:
        return f"<{get_args(each.type)[0].__name__.lower()}>"
    if each.option.parse is not None:
        return "<str>" if each.type is str else "<size>"
    return None


_CONFIG = inspect.Parameter(
    CONFIG,
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="TOML file with options: one `name = value` per line, names as on the command line, without the "
            "leading dashes. The command line takes precedence. Relative paths start from the file's folder.",
            expose_value=False,
        ),
    ],
)
