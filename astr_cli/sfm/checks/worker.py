"""The process that reads files: damaged HDF5 may crash it, or keep it busy for ever.

It reads one JSON object per line, {"path": ..., "others": [...]}, and answers each with one: a report. Lines with
only a dot say that it is alive.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from astr_cli.sfm.checks.database import check_database
from astr_cli.sfm.checks.hdf5_layouts import check_hdf5
from astr_cli.sfm.checks.report import FileReport, UnreadableError, printable
from astr_cli.wording import first_line

BEAT = 1.0  # seconds between two signs of life
SQLITE = b"SQLite format 3\x00"
HDF5 = b"\x89HDF\r\n\x1a\n"  # at byte 0, or behind a user block of 512, 1024, ... bytes
USER_BLOCKS = (0, *(512 << power for power in range(12)))


def main() -> None:
    """Answers requests until standard input ends."""
    answer = sys.stdout
    sys.stdout = sys.stderr  # output of libraries must not come between answers
    beat = Beat(lambda: print(".", file=answer, flush=True))
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(inspect(request["path"], request["others"], beat)), file=answer, flush=True)


class Beat:
    """Calls `send` on request, but at most once per second."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._last = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last >= BEAT:
            self._last = now
            self._send()


def inspect(path: str, others: Sequence[str], alive: Callable[[], None]) -> dict[str, Any]:
    """The record of the report on one file; a bug in astr becomes {"bug": ...}."""
    try:
        report = check_file(Path(path), map(Path, others), alive)
    except UnreadableError as error:
        report = FileReport(path, unreadable=printable(str(error)))
    except MemoryError:
        report = FileReport(path, unreadable="reading it takes more memory than this machine has")
    except Exception as error:
        return {"bug": f"{type(error).__name__}: {printable(first_line(error))}"}
    return report.record()


def check_file(path: Path, others: Iterable[Path], alive: Callable[[], None]) -> FileReport:
    """Checks one file of any kind. Raises UnreadableError."""
    if not path.is_file():
        raise UnreadableError("is not a file")
    try:
        with path.open("rb") as file:
            heads = []
            for start in USER_BLOCKS:
                file.seek(start)
                heads.append(file.read(len(SQLITE)))
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror or error})") from None
    if heads[0] == SQLITE:
        return check_database(path, alive)
    if any(head.startswith(HDF5) for head in heads):
        return check_hdf5(path, others, alive)
    if not heads[0]:
        raise UnreadableError("is empty")
    raise UnreadableError("is neither an HDF5 file nor a database, or its first bytes are damaged")
