"""Standard streams that are closed or full, and limits of the system: one line, and an exit code of their own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from astr_cli.cli.failures import explained

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors and limits of Linux")

READY = "import sys; from astr_cli.cli.streams import prepare_streams; prepare_streams(); "
OPENED = READY + "file = open(sys.argv[1], 'w'); print(file.fileno() > 2); print('a note', file=sys.stderr)"


def shell(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`command` by the shell, with $0 = Python and $1, ... = arguments."""
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments], check=False, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_lines_on_standard_error_are_dropped_when_they_cannot_be_written(closed: str, tmp_path: object) -> None:
    """And no file gets the number of a closed stream, or libraries would print into it."""
    done = shell(f'"$0" -c "$1" "$2" {closed}', OPENED, f"{tmp_path}/file")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


@pytest.mark.parametrize(("closed", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "the disk is full")])
def test_results_that_cannot_be_printed(closed: str, why: str) -> None:
    done = shell(f'"$0" -m astr_cli --version {closed}')
    assert done.returncode == 4
    assert done.stderr.startswith(f"astr: standard output: {why}; ") and done.stderr.count("\n") == 1


def test_all_streams_closed() -> None:
    assert shell('"$0" -m astr_cli --version <&- >&- 2>&-').returncode == 4


def test_a_reader_that_ends_is_no_error() -> None:
    done = shell('"$0" -m astr_cli --help | true; exit 0')
    assert (done.returncode, done.stderr) == (0, "")


def test_pairs_from_a_closed_standard_input() -> None:
    script = READY + "from pathlib import Path; from astr_cli.pairs.reading import read_pairs; read_pairs(Path('-'))"
    done = shell('"$0" -c "$1" <&-', script)
    assert done.stderr.splitlines()[-1].endswith("holds no pairs; write two image names on each line")


def test_a_limit_that_libraries_cannot_live_with() -> None:
    done = shell('ulimit -v 1000000; exec "$0" -m astr_cli --version')
    assert done.returncode == 2
    assert "the limit of address space (ulimit -v) is 976 MB, but astr's libraries need 4,096 MB" in done.stderr


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (FULL, 4, "standard output: the disk is full"),
        (OSError(errno.ENOSPC, "No space", "f.h5"), 4, "f.h5: the disk is full"),
        (OSError(errno.EIO, "Input/output error", "f.h5"), 4, "f.h5: Input/output error"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), 2, "cannot be used (File name too long)"),
        (PermissionError(errno.EACCES, "Permission denied", b"a/\xff"), 2, "cannot be used (Permission denied)"),
        (OSError(errno.ELOOP, "Too many levels", "a"), 2, "a: cannot be used"),
        (MemoryError(), 4, "there is not enough memory"),
        (RuntimeError("can't start new thread"), 4, "there is not enough memory"),
        (ImportError("x.so: failed to map segment from shared object"), 4, "there is not enough memory"),
    ],
)
def test_what_the_system_refuses(error: Exception, code: int, text: str) -> None:
    found = explained(error)
    assert found is not None and found.exit_code == code and text in str(found)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError(1), OSError("x"), PermissionError(errno.EACCES, "no file")]
)
def test_all_else_may_be_a_bug(error: Exception) -> None:
    assert explained(error) is None
