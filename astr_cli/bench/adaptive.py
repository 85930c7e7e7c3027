"""The time that `--adaptive` spares: the same pairs with it and without it, side by side."""

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter, process_time
from typing import NamedTuple

from astr_cli.bench.pair_loop import Loop
from astr_cli.bench.records import AdaptiveRun
from astr_cli.matching.run.model_runner import PairInput
from astr_cli.options.matching import MatchOptions

# Rows of a pair without --adaptive: fewer are hardly ever right, more are an easy pair.
FEW, MANY = 50, 1000


class Timed(NamedTuple):
    """One pair, matched once."""

    rows: float
    seconds: float
    core_seconds: float


def measure_adaptive(options: MatchOptions, pairs: Sequence[tuple[str, str]]) -> list[AdaptiveRun]:
    """All of the pairs together, then those with few, some, and many matches, as far as there are any."""
    without, adaptive = (Loop(replace(options, adaptive=each)) for each in (False, True))
    found = []
    for index, names in enumerate(pairs):
        features = adaptive.read(*names)
        if index == 0:  # compiles what is compiled at first use
            _timed(without, features)
        found.append((_timed(without, features), _timed(adaptive, features)))
    return summarise(found)


def _timed(loop: Loop, pair: PairInput) -> Timed:
    start, on_cores = perf_counter(), process_time()
    rows = loop.match_features(pair)
    return Timed(rows, perf_counter() - start, process_time() - on_cores)


def summarise(found: Sequence[tuple[Timed, Timed]]) -> list[AdaptiveRun]:
    """Means of pairs matched without --adaptive and with it, by number of matches without it."""
    runs = []
    for name, least, below in (
        ("all pairs", 0, None),
        (f"fewer than {FEW} matches", 0, FEW),
        (f"{FEW} to {MANY - 1} matches", FEW, MANY),
        (f"{MANY:,} matches or more", MANY, None),
    ):
        part = [both for both in found if least <= both[0].rows and (below is None or both[0].rows < below)]
        if part:
            without, adaptive = (_mean(side) for side in zip(*part, strict=True))
            runs.append(
                AdaptiveRun(
                    name,
                    len(part),
                    without.rows,
                    adaptive.rows,
                    without.seconds,
                    adaptive.seconds,
                    without.core_seconds,
                    adaptive.core_seconds,
                )
            )
    return runs


def _mean(several: Sequence[Timed]) -> Timed:
    return Timed(*(sum(column) / len(several) for column in zip(*several, strict=True)))
