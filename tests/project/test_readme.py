"""What README and docs/ tell people to type works as written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from astr_cli.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(astr [^`]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
SOURCE = re.compile(r"`((?:astr_cli|tests)/[a-z0-9_/]+(?:\.py|/))`")


def commands() -> Iterator[tuple[str, str]]:
    """(page, line) of every `astr ...` in a shell block or between backticks."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, block in BLOCK.findall(text):
            if language in ("", "bash", "sh"):
                joined = block.replace("\\\n", " ")
                yield from ((page.name, line) for line in joined.splitlines() if line.startswith("astr "))
        yield from ((page.name, line) for line in INLINE.findall(BLOCK.sub("", text)) if " -" in line or "." in line)


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_commands_parse(page: str, line: str) -> None:
    """The command and all its options exist and take such values; nothing is run."""
    program = typer.main.get_command(app)
    name, *arguments = shlex.split(line, comments=True)[1:]
    command = program.commands[name]  # type: ignore[attr-defined]
    if arguments != ["--help"]:
        command.make_context(name, arguments)


def test_the_two_commands_and_the_script_are_there() -> None:
    named = {line.split()[1] for page, line in commands() if page == "README.md"}
    assert {"match", "colmap-import", "reconstruct", "eval"} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_code_exist(page: Path) -> None:
    named = SOURCE.findall(page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert len(named) > 20 or page.name != "CONTRIBUTING.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_number_is_filled_in(page: Path) -> None:
    assert re.findall(r"@@\w+@@", page.read_text(encoding="utf-8")) == []


def test_the_python_lines_run(
    write_pair: Callable[[Path, str, str], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pair(tmp_path, "a.jpg", "b.jpg")
    (code,) = [block for language, block in BLOCK.findall(PAGES[0].read_text(encoding="utf-8")) if language == "python"]
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert len(names["matches"]) >= 200  # type: ignore[arg-type]
