"""Texts of `astr match`: counts, times, what fits into a line, and the pairs that hardly match."""

import time
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from astr_cli.matching.events import FEW, FailedPair, MatchSummary, PairDone
from astr_cli.wording import counted

NAMED = 3  # pairs
MANY = 1 / 3  # of all pairs: less is usual, as not all listed photos overlap


class Rate:
    """Pairs a second and matches a pair of what this run has computed."""

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
        return f"{speed:.2f} pairs/s, {self._matches / max(self._pairs, 1):.0f} matches each"

    def left(self, event: PairDone) -> str:
        """How long the rest will take."""
        seconds = (time.monotonic() - self._start) / max(self._pairs, 1) * (event.total - event.finished)
        return f"about {duration_text(seconds)} left"


def few_line(summary: MatchSummary) -> str | None:
    """How many pairs hardly match, and what may help when many do; None where none does."""
    count = len(summary.few)
    if not count:
        return None
    names = ", ".join(f"{pair.name0} {pair.name1} ({pair.matches})" for pair in summary.few[:NAMED])
    more = ", ..." if count > NAMED else ""
    verb = "has" if count == 1 else "have"
    line = f"{count} of {counted(summary.pairs, 'pair')} {verb} fewer than {FEW} matches: {names}{more}"
    if count < MANY * summary.pairs or summary.turned:
        return line
    return f"{line}; where photos are turned against each other, try --rotate auto with another --out"


def failed_lines(failed: Sequence[FailedPair]) -> Iterator[str]:
    """A line for each reason that is a photo's, with the number of its pairs; else a line for each pair."""
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


def duration_text(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def fitting(parts: Sequence[str], room: int) -> str:
    """As many of the parts, from the first on, as `room` columns hold, with commas between them."""
    count = len(parts)
    while count and len(", ".join(parts[:count])) > room:
        count -= 1
    return ", ".join(parts[:count])
