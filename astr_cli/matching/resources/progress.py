"""Lines of progress for steps of more than two seconds."""

import time
from collections.abc import Callable

from astr_cli.wording import counted, duration_text

FIRST = 2.0  # seconds until the first line, and at least between two lines
SHARE = 0.2  # of the time so far, until the next line
LONGEST = 30.0  # seconds between two lines at most, if the step reports that often


class Progress:
    """Tells how far a step is: after 2 seconds, then more and more rarely, but every 30 seconds."""

    def __init__(
        self, tell: Callable[[str], None], stage: str, total: int = 0, noun: str = "", done: int = 0, even: bool = True
    ) -> None:
        """total: how many `noun` there are; 0 = unknown, then the line gives the time so far. done: how many of them
        an earlier run did. even: whether all take equally long, so that the time left can be told.
        """
        self._tell, self._stage, self._total, self._noun, self._before = tell, stage, total, noun, done
        self._even = even
        self._start = time.monotonic()
        self._next = self._start + FIRST

    def at(self, done: int = 0) -> None:
        """Tells that `done` are done, if it is time for a line."""
        now = time.monotonic()
        if now < self._next:
            return
        seconds = now - self._start
        self._next = now + min(max(FIRST, SHARE * seconds), LONGEST)
        self._tell(self._text(done, seconds))

    def _text(self, done: int, seconds: float) -> str:
        parts = [f"{done:,} of {counted(self._total, self._noun)}"] if self._total else []
        parts.append(f"{duration_text(seconds)} so far")
        fresh = done - self._before
        if self._total and self._even and fresh > 0 and done < self._total:
            parts.append(f"about {duration_text(seconds * (self._total - done) / fresh)} left")
        return f"{self._stage}: {', '.join(parts)}"
