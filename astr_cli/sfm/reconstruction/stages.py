"""Times and memory of the stages of a reconstruction, for its report: times.json in OUT."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from astr_cli.files import parse_json, write_whole
from astr_cli.wording import duration_text

TIMES = "times.json"
MARK = "astr_runs"
MOST_RUNS = 10  # kept
WORTH = 2.0  # seconds from which a stage is told


class Stages:
    """Notes how long each stage takes, and tells how to look at its results.

    times.json is complete after every stage; a file that cannot be written is no reason to stop.
    """

    def __init__(self, out: Path, tell: Callable[[str], None]) -> None:
        self._out, self._tell = out, tell
        self._before = read_stages(out / TIMES)[1 - MOST_RUNS :]
        self._done: list[dict[str, Any]] = []
        self._stage, self._start = "", time.monotonic()

    def begin(self, stage: str, see: str = "") -> None:
        """Ends the stage before and begins another. see: what the finished stage has to show."""
        self.end(see)
        self._stage, self._start = stage, time.monotonic()

    def end(self, see: str = "") -> None:
        """Ends the stage, if one has begun."""
        if not self._stage:
            return
        seconds = time.monotonic() - self._start
        self._done.append({"stage": self._stage, "seconds": round(seconds, 2), "memory": _most_memory()})
        with suppress(OSError):
            text = json.dumps({MARK: [*self._before, self._done]}, ensure_ascii=False, indent=1)
            write_whole(self._out / TIMES, text + "\n")
        if see and seconds >= WORTH:
            self._tell(f"{self._stage}: done in {duration_text(seconds)}; to see {see}: astr report {self._out}")
        self._stage = ""


def read_stages(file: Path) -> list[list[dict[str, Any]]]:
    """The stages of each run, the last run last; empty without a readable file."""
    try:
        runs = parse_json(file.read_bytes())[MARK]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    good = isinstance(runs, list) and all(isinstance(run, list) for run in runs)
    return [[stage for stage in run if _is_stage(stage)] for run in runs] if good else []


def _is_stage(stage: object) -> bool:
    numbers = (int, float)
    return (
        isinstance(stage, dict)
        and isinstance(stage.get("stage"), str)
        and isinstance(stage.get("seconds"), numbers)
        and isinstance(stage.get("memory"), (*numbers, type(None)))
    )


def _most_memory() -> float | None:
    """Megabytes that this process has held at most so far; None: the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1e6 if sys.platform == "darwin" else 1e3), 1)
