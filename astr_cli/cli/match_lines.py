"""The sentences of `astr match`: what a run starts with, its speed, failures and results."""

import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from astr_cli.matching.run.events import (
    FEW,
    FailedPair,
    MatchSummary,
    PairDone,
    Started,
    StopRequested,
)
from astr_cli.wording import counted, duration_text

NAMED = 3  # pairs
MANY = 1 / 3  # of all pairs; a smaller share is normal, because not all listed photos overlap


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
