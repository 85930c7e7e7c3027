"""Lines of progress: none for short steps, ever rarer ones for long steps, with the time left where it is known."""

from itertools import pairwise

import pytest

from astr_cli.matching.resources import progress
from astr_cli.matching.resources.progress import Progress


class Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def said_of(made: Clock, seconds: int, **settings: object) -> list[tuple[float, str]]:
    """One item per second."""
    said: list[tuple[float, str]] = []
    begin = made.now
    told = Progress(lambda line: said.append((made.now - begin, line)), "verifying", **settings)  # type: ignore[arg-type]
    for second in range(1, seconds + 1):
        made.now = begin + second
        told.at(second)
    return said


def test_short_steps_are_silent(clock: Clock) -> None:
    assert said_of(clock, 1, total=1, noun="pair") == []


def test_time_so_far_and_left(clock: Clock) -> None:
    assert said_of(clock, 3, total=300, noun="pair") == [(2, "verifying: 2 of 300 pairs, 2 s so far, about 5 min left")]
    assert said_of(clock, 2, total=300, noun="pair", even=False) == [(2, "verifying: 2 of 300 pairs, 2 s so far")]
    assert said_of(clock, 2) == [(2, "verifying: 2 s so far")]


def test_what_an_earlier_run_did_takes_no_time(clock: Clock) -> None:
    (said,) = said_of(clock, 2, total=9, noun="pair", done=1)
    assert said[1].endswith("about 14 s left")


def test_lines_become_rarer_but_do_not_end(clock: Clock) -> None:
    times = [second for second, _ in said_of(clock, 600, total=1000, noun="pair")]
    gaps = [after - before for before, after in pairwise(times)]
    assert times[0] == 2 and gaps == sorted(gaps) and gaps[-1] == 30


def test_shares(clock: Clock) -> None:
    said: list[str] = []
    told = Progress(said.append, "refining")
    clock.now += 10
    told.of(1, 4)
    assert said == ["refining: 25%, 10 s so far, about 30 s left"]
