"""How all commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def warn(message: str) -> None:
    """One line of warning on stderr."""
    print(f"astr: warning: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> None:
    """One line of error on stderr."""
    print(f"astr: {message}", file=sys.stderr, flush=True)


def note(message: str) -> None:
    """One line of progress on stderr, with the time of day unless it is a terminal."""
    stamp = "" if sys.stderr.isatty() else f"{time.strftime('%H:%M:%S')} "
    print(f"{stamp}{message}", file=sys.stderr, flush=True)


def json_line(record: Mapping[str, object]) -> None:
    """One JSON object on one line of stdout, written immediately so that the reader of a pipe gets it."""
    import json

    print(json.dumps(record, ensure_ascii=False), flush=True)


def charts(paths: Sequence[Path], as_json: bool) -> None:
    """Where charts were drawn: one line each on stdout."""
    for path in paths:
        if as_json:
            json_line({"event": "chart", "path": str(path)})
        else:
            print(f"{path}: chart")
