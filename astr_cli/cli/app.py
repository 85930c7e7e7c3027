"""The command `astr`: its commands, and how errors are reported.

Nothing heavy is imported here or at the top of a command's module, so that `astr --help` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from astr_cli.cli import (
    adapt,
    bench_operator,
    bench_pipeline,
    bench_sfm,
    check,
    colmap_import,
    console,
    doctor,
    eval,
    explain,
    export,
    extend,
    frames,
    localize,
    match,
    merge,
    pairs,
    plan,
    reconstruct,
    report,
    train,
)
from astr_cli.cli.failures import explained, require_address_space
from astr_cli.cli.generated import add_command
from astr_cli.cli.streams import prepare_streams
from astr_cli.errors import AstrError

app = typer.Typer(
    name="astr",
    help="Image matching for photogrammetry: photos in, matches and COLMAP models out.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a paragraph
)
for _name, _module in (
    ("match", match),
    ("plan", plan),
    ("merge", merge),
    ("colmap-import", colmap_import),
    ("reconstruct", reconstruct),
    ("report", report),
    ("explain", explain),
    ("localize", localize),
    ("extend", extend),
    ("check", check),
    ("export", export),
    ("frames", frames),
    ("eval", eval),
    ("train", train),
    ("adapt", adapt),
    ("doctor", doctor),
):
    add_command(app, _name, _module.command, getattr(_module, "HELP", None))
bench = typer.Typer(help="Measure speed and memory, and compare with other implementations.", no_args_is_help=True)
for _name, _module in (("operator", bench_operator), ("pipeline", bench_pipeline), ("sfm", bench_sfm)):
    add_command(bench, _name, _module.command)
app.add_typer(bench, name="bench")
app.add_typer(pairs.pairs, name="pairs")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"astr {version('astr-cli')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _astr(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def main() -> None:
    """Entry point of the console script."""
    prepare_streams()
    # Until a command minds signals itself (matching/resources/signals.py), nothing has begun that could be torn.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(_printed(run(sys.argv[1:])))


def _printed(code: int) -> int:
    """The exit code, after everything was printed, or could not be."""
    try:
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        failed = code or 130
    except OSError as error:
        failed = code or _report(error)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try again, and complain
    return failed


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code (docs/design.md, Errors); an error is one line on stderr."""
    try:
        require_address_space()
        code = app(args=list(arguments), prog_name="astr", standalone_mode=False)
    except AstrError as error:
        console.fail(str(error))
        return error.exit_code
    except typer.TyperException as error:
        if error.format_message():  # nothing more to say where the help was shown
            console.fail(f"{_sentence(error.format_message())} See {_help_command(arguments)}.")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except SystemExit:  # Typer's answer to a closed pipe: the reader has ended, for example `head`
        return 130
    except Exception as error:
        return _report(error)
    return code if isinstance(code, int) else 0


def _sentence(text: str) -> str:
    """One line that ends with a full stop, an exclamation mark or a question mark."""
    line = " ".join(text.split()).replace("Value error, ", "")  # meaningless to a user
    return line if line.endswith((".", "?", "!")) else f"{line}."


def _help_command(arguments: Sequence[str]) -> str:
    names = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    command = next((argument for argument in arguments if argument in names), None)
    return f"astr {command} --help" if command else "astr --help"


def _report(error: Exception) -> int:
    known = explained(error)
    if known is None or os.environ.get("ASTR_DEBUG"):
        return _report_bug(error)
    console.fail(str(known))
    return known.exit_code


def _report_bug(error: Exception) -> int:
    if os.environ.get("ASTR_DEBUG"):
        traceback.print_exception(error)
    else:
        what = " ".join(str(error).split()) or "no message"
        console.fail(
            f"this is a bug in astr ({type(error).__name__}: {what}); "
            "set ASTR_DEBUG=1 and run the command again to see where"
        )
    return 1
