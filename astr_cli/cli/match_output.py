"""The output of `astr match`: a progress bar on a terminal, plain lines elsewhere, JSON lines, or only failures."""

import os
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from astr_cli.cli import console
from astr_cli.cli.match_lines import Rate, failed_lines, fitting, memory_texts, start_lines, stop_line, summary_lines
from astr_cli.errors import Interrupted
from astr_cli.matching.plots import Drawings
from astr_cli.matching.run.events import (
    Event,
    FailedPair,
    MatchSummary,
    Notice,
    PairDone,
    PairFailed,
    Started,
    StopRequested,
    Writing,
)
from astr_cli.wording import counted

LISTED = 20  # lines about failed pairs
EVERY = 5.0  # seconds between plain lines
BAR_ROOM = 26  # columns of the progress line without detail and counts: label, bar, "/", time left, gaps


class ProgressReport(AbstractContextManager["ProgressReport"]):
    """Prints failed pairs and nothing else (`--quiet`). The other reports extend it."""

    def __init__(self) -> None:
        self._failed: list[FailedPair] = []
        self._listed = 0

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Restores the terminal for the output that follows the matching."""
        self._list_failed()

    def event(self, event: Event) -> None:
        """Handles one event of a run. Failed pairs are collected, so that one line covers all pairs of a bad photo."""
        if isinstance(event, PairFailed):
            self._failed.append(FailedPair(event.name0, event.name1, event.reason))
        elif isinstance(event, Started):
            self._list_failed()  # the pairs that --skip-bad leaves out

    def _list_failed(self) -> None:
        failed, self._failed = self._failed, []
        for line in failed_lines(failed):
            self._listed += 1
            if self._listed <= LISTED:
                self._warn(f"failed: {line}")

    def drawn(self, folder: Path, drawings: Drawings) -> None:
        """Reports the drawings."""
        if drawings.unreadable:
            count = counted(drawings.unreadable, "pair")
            self._warn(f"{folder}: {count} not drawn, because their photos can no longer be read")

    def summary(self, summary: MatchSummary) -> None:
        """Reports the result of a run."""
        if self._listed > LISTED:
            self._warn(f"failed: {counted(self._listed - LISTED, 'more line')}; use --json to list all pairs")
        count = len(summary.failed)
        if count:
            total = counted(summary.pairs + count, "pair")
            # A photo that was bad before the start stays bad unless the user repairs it.
            again = "run" if count > summary.skipped else "repair these photos and run"
            self._warn(f"{count} of {total} failed; {again} the same command to try them again")

    def _warn(self, text: str) -> None:
        console.warn(text)


class JsonReport(ProgressReport):
    """Prints every event and the summary as one JSON object per line on standard output."""

    def event(self, event: Event) -> None:
        self._print(event, _json_name(event))

    def summary(self, summary: MatchSummary) -> None:
        self._print(summary, "summary")

    def drawn(self, folder: Path, drawings: Drawings) -> None:
        console.json_line({"event": "drawn", "folder": str(folder), **drawings._asdict()})

    def _print(self, record: Event | MatchSummary, name: str) -> None:
        fields = {key: str(value) if key in ("out", "path") else value for key, value in asdict(record).items()}
        try:
            console.json_line({"event": name, **fields})
        except BrokenPipeError:
            # The reader of the pipe has ended, as `head` does; without this, Python reports the error again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Interrupted(
                "standard output was closed; finished pairs are kept; run the same command again to resume"
            ) from None


class PlainReport(ProgressReport):
    """Prints at most one line every few seconds on standard error, and the summary on standard output."""

    def __init__(self) -> None:
        super().__init__()
        self._rate = Rate()
        self._last = 0.0

    def event(self, event: Event) -> None:
        match event:
            case Notice():
                self._warn(event.text)
            case StopRequested():
                self._warn(stop_line(event))
            case Started():
                super().event(event)
                self._rate.start()
                for line in start_lines(event):
                    self._line(line)
            case PairDone():
                self._rate.add(event)
                now = time.monotonic()
                if now - self._last >= EVERY or event.finished == event.total:
                    self._last = now
                    parts = [f"{event.finished}/{event.total} pairs"]
                    if event.finished < event.total:
                        parts.append(self._rate.left(event))
                    self._line(", ".join([*parts, self._rate.text(), *memory_texts(event)]))
            case Writing():
                self._line(f"writing {event.path}")
            case _:
                super().event(event)

    def drawn(self, folder: Path, drawings: Drawings) -> None:
        super().drawn(folder, drawings)
        spaced = ", evenly spaced over all pairs" if drawings.drawn + drawings.unreadable < drawings.pairs else ""
        self._line(f"{folder}: {drawings.drawn} of {counted(drawings.pairs, 'pair')} drawn{spaced}")

    def summary(self, summary: MatchSummary) -> None:
        super().summary(summary)
        for line in summary_lines(summary):
            print(line, flush=True)

    def _line(self, text: str) -> None:
        console.note(text)


class RichReport(PlainReport):
    """Shows a progress bar on a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(min_width=4, ratio=1)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True)),
            console=self._console,
            speed_estimate_period=300.0,
        )
        self._task: TaskID | None = None

    def stop(self) -> None:
        self._progress.stop()
        super().stop()

    def event(self, event: Event) -> None:
        match event:
            case Started():
                super().event(event)
                self._task = self._progress.add_task("matching", total=event.pairs, completed=event.reused, detail="")
                self._progress.start()
            case PairDone() if self._task is not None:
                self._rate.add(event)
                room = self._console.width - BAR_ROOM - 2 * len(str(event.total))
                detail = fitting([*self._rate.text().split(", "), *memory_texts(event)], room)
                self._progress.update(self._task, completed=event.finished, detail=detail)
            case Writing() if self._task is not None:
                self._progress.update(self._task, description="writing")
            case StopRequested():
                # Restores the cursor now, because a second Ctrl-C ends the process immediately.
                self._progress.stop()
                self._warn(stop_line(event))
            case _:
                super().event(event)

    def _line(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True)

    def _warn(self, text: str) -> None:
        self._console.print(f"[yellow]astr: warning:[/] {escape(text)}", soft_wrap=True)


def make_report(as_json: bool, quiet: bool) -> ProgressReport:
    """The report for these options."""
    if as_json:
        return JsonReport()
    if quiet:
        return ProgressReport()
    return RichReport() if sys.stderr.isatty() else PlainReport()


def _json_name(event: Event) -> str:
    names = {
        Notice: "notice",
        Started: "started",
        PairDone: "pair",
        PairFailed: "failed",
        StopRequested: "stopping",
        Writing: "writing",
    }
    return names[type(event)]
