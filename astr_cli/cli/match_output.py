"""The output of `astr match`: a progress bar on a terminal, plain lines elsewhere, JSON lines, or only failures."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from astr_cli.cli import console
from astr_cli.errors import Interrupted
from astr_cli.matching.plots import Drawings
from astr_cli.matching.run.events import (
    FEW,
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
from astr_cli.wording import counted, duration_text

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


def start_lines(event: Started) -> Iterator[str]:
    """Photos, pairs and settings of a run."""
    yield (
        f"{counted(event.images, 'photo')}, {counted(event.pairs, 'pair')} ({event.reused:,} already matched); "
        f"weights {event.weights} on {event.device} in {event.precision}, photos matched at {event.long_side} px"
    )
    yield (
        f"focal length known for {event.known_focals} of {counted(event.images, 'photo')}; "
        f"{size_text(event.cache_bytes)} of memory for features; output: up to {disk_text(event.disk_bytes)}"
    )
    if event.masked is not None:
        yield f"masks for {event.masked} of {counted(event.images, 'photo')}"


def stop_line(event: StopRequested) -> str:
    """The response to a signal."""
    return f"{event.signal}: stopping after the current batches; interrupt again to quit immediately"


def memory_texts(event: PairDone) -> list[str]:
    """The memory in use, if it is known."""
    return [] if event.memory_bytes is None else [f"{size_text(event.memory_bytes)} of memory"]


def summary_lines(summary: MatchSummary) -> Iterator[str]:
    """The result of a run, and the command to run next."""
    yield f"{summary.out}: {counted(summary.pairs, 'pair')}, {summary.reused:,} of them matched in an earlier run"
    if summary.matched:
        mean = summary.matches / summary.matched
        found = counted(summary.matches, "match")
        yield f"matched {counted(summary.matched, 'pair')} in {summary.seconds:.1f} s: {found}, {mean:,.0f} per pair"
    if summary.looked_again:
        yield f"looked again at a part of {counted(summary.looked_again, 'pair')}"
    few = few_line(summary)
    if few is not None:
        yield few
    database = shlex.quote(str(summary.out.with_suffix(".db")))
    yield f"next: astr colmap-import {database} --matches {shlex.quote(str(summary.out))}"


def disk_text(count: int) -> str:
    """The expected bytes of the output and the temporary journal."""
    return f"{size_text(count)} on disk, including temporary files"


def size_text(count: int) -> str:
    """Bytes as kB, MB or GB."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


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


NAMED = 3  # pairs
MANY = 1 / 3  # of all pairs; a smaller share is normal, because not all listed photos overlap


class Rate:
    """Pairs per second and matches per pair, of the pairs that this run has matched."""

    def __init__(self) -> None:
        self._start = 0.0
        self._pairs = 0
        self._matches = 0

    def start(self) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def add(self, event: PairDone) -> None:
        """Counts a pair."""
        self._pairs += 1
        self._matches += event.matches

    def text(self) -> str:
        """Both figures."""
        speed = self._pairs / max(time.monotonic() - self._start, 1e-9)
        return f"{speed:.2f} pairs/s, {self._matches / max(self._pairs, 1):,.0f} matches per pair"

    def left(self, event: PairDone) -> str:
        """The expected time for the remaining pairs."""
        seconds = (time.monotonic() - self._start) / max(self._pairs, 1) * (event.total - event.finished)
        return f"about {duration_text(seconds)} left"


def few_line(summary: MatchSummary) -> str | None:
    """The number of pairs with few matches, and advice if there are many; None if there are none."""
    count = len(summary.few)
    if not count:
        return None
    names = ", ".join(f"{pair.name0} {pair.name1} ({pair.matches})" for pair in summary.few[:NAMED])
    more = ", ..." if count > NAMED else ""
    verb = "has" if count == 1 else "have"
    line = f"{count} of {counted(summary.pairs, 'pair')} {verb} fewer than {FEW} matches: {names}{more}"
    if count < MANY * summary.pairs or summary.turned:
        return line
    return f"{line}; if photos are rotated relative to each other, try --rotate auto with another --out"


def failed_lines(failed: Sequence[FailedPair]) -> Iterator[str]:
    """One line per bad photo, with the number of its pairs; for other reasons, one line per pair."""
    pairs: dict[str, list[FailedPair]] = {}
    for pair in failed:
        named = PurePosixPath(pair.name0).name in pair.reason or PurePosixPath(pair.name1).name in pair.reason
        pairs.setdefault(pair.reason if named else f"{pair.name0} {pair.name1}: {pair.reason}", []).append(pair)
    for text, members in pairs.items():
        if len(members) > 1:
            yield f"{text}; {len(members)} pairs left out"
        else:
            names = f"{members[0].name0} {members[0].name1}"
            yield text if text.startswith(f"{names}: ") else f"{names}: {text}"


def fitting(parts: Sequence[str], room: int) -> str:
    """The first parts that fit into `room` columns, separated by commas."""
    count = len(parts)
    while count and len(", ".join(parts[:count])) > room:
        count -= 1
    return ", ".join(parts[:count])
