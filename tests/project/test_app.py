"""What becomes of an error on the command line: one line, and its exit code (docs/design.md, Errors)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from astr_cli.cli import app as app_module
from astr_cli.cli.app import app, run
from astr_cli.errors import AstrError, Interrupted, Stopped

COMMANDS = ["match", "plan", "merge", "colmap-import", "reconstruct", "report", "explain", "localize", "extend"]
COMMANDS += ["check", "export", "frames", "eval", "train", "adapt", "doctor"]


def raise_in_app(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(app_module, "app", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [(AstrError("a.jpg: gone"), 2), (Stopped("a.jpg: gone"), 4), (Interrupted("a.jpg: gone"), 130)],
)
def test_an_expected_error_is_one_line(
    error: AstrError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raise_in_app(monkeypatch, error)
    assert run(["match"]) == code
    assert capsys.readouterr() == ("", "astr: a.jpg: gone\n")


def test_a_bug_is_one_line_that_tells_how_to_get_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ASTR_DEBUG", raising=False)
    raise_in_app(monkeypatch, ZeroDivisionError("two\nlines"))
    assert run(["match"]) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "bug in astr (ZeroDivisionError: two lines)" in printed
    assert "ASTR_DEBUG=1" in printed
    monkeypatch.setenv("ASTR_DEBUG", "1")
    assert run(["match"]) == 1
    assert capsys.readouterr().err.startswith("Traceback")


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    raise_in_app(monkeypatch, KeyboardInterrupt())
    assert run(["match"]) == 130


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["macth"], ["'macth'", "match", "astr --help"]),
        (["--frobnicate"], ["--frobnicate", "astr --help"]),
        (["match"], ["PAIRS", "astr match --help"]),
        (
            ["match", "p.txt", "--out", "m.h5", "--long-sied", "640"],
            ["--long-sied", "--long-side", "astr match --help"],
        ),
        (["match", "p.txt", "--out", "m.h5", "--threshold", "high"], ["--threshold", "number", "astr match --help"]),
    ],
)
def test_bad_usage_is_one_line_and_2(
    arguments: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("astr: ")
    assert printed.err.count("\n") == 1
    for part in parts:
        assert part.lower() in printed.err.lower()


def test_no_command_prints_the_help_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    printed = capsys.readouterr().out
    for name in COMMANDS:
        assert name in printed


def test_the_commands_are_those_that_work() -> None:
    assert [command.name for command in app.registered_commands] == COMMANDS


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "astr_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("astr ")


def test_names_that_the_terminal_cannot_show_end_no_run(tmp_path) -> None:
    """As on Windows, where a pipe has eight bits a letter."""
    for name in ("a.jpg", "日本.jpg"):
        Image.new("L", (64, 64)).save(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "astr_cli", "pairs", "exhaustive", str(tmp_path)],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout.decode("utf-8")) == (0, "a.jpg 日本.jpg\n")


@pytest.mark.skipif(os.name == "nt", reason="closes a pipe as a shell of Unix does")
def test_a_reader_that_has_gone_is_no_bug() -> None:
    for arguments in (["--help"], ["match", "--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "wb") as output:
            command = [sys.executable, "-m", "astr_cli", *arguments]
            done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_behind_standard_output_is_no_bug(tmp_path) -> None:
    for name in ("a.jpg", "b.jpg"):
        Image.new("L", (64, 64)).save(tmp_path / name)
    command = [sys.executable, "-m", "astr_cli", "pairs", "exhaustive", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == "astr: standard output: the disk is full; free some space and run the same command again\n"


def test_help_in_short_and_where_a_command_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["match", "-h"]) == 0
    assert "--long-side" in capsys.readouterr().out
    assert run(["pairs"]) == 2
    printed = capsys.readouterr()
    assert "exhaustive" in printed.out
    assert printed.err == ""
