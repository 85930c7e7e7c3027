"""`astr plan`: the time, memory and disk space that `astr match` would need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from astr_cli.options.files import SampleOption
from astr_cli.options.matching import MatchOptions, PairsOptions
from astr_cli.options.option import take
from astr_cli.options.output import JsonOption

if TYPE_CHECKING:
    from astr_cli.matching.run.events import Event
    from astr_cli.matching.run.forecast import Forecast


def command(options: PairsOptions, sampling: SampleOption, output: JsonOption) -> int:
    """Forecast the time, memory and disk space that `astr match` needs for a pairs file.

    astr makes all checks that come before a run, then matches the first pairs to measure time and memory.

    Examples:

    astr plan pairs.txt --images photos/

    astr plan pairs.txt --tiles --sample 2 --json

    Exit codes: 0 = the run could start; 2 = it could not start, the message says why; 4 = disk or memory is full,
    130 = stopped by a signal, both while matching the sample.
    """
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.matching.run.forecast import forecast

    found = forecast(take(MatchOptions, options, out=Path("matches.h5")), sampling.sample, _tell)
    if output.as_json:
        console.json_line({"event": "plan", **asdict(found)})
    else:
        for line in _lines(found):
            print(line, flush=True)
    return 0


def _tell(event: Event) -> None:
    from astr_cli.cli import console
    from astr_cli.cli.match_lines import stop_line
    from astr_cli.matching.run.events import Notice, StopRequested

    if isinstance(event, Notice):
        console.warn(event.text)
    elif isinstance(event, StopRequested):
        console.warn(stop_line(event))


def _lines(found: Forecast) -> Iterator[str]:
    from astr_cli.cli.match_lines import disk_text, size_text
    from astr_cli.wording import counted

    skipped = f", {counted(found.skipped, 'pair')} left out" if found.skipped else ""
    photos = counted(found.images, "photo")
    known = counted(found.known_focals, "photo")
    yield f"{photos}, {counted(found.pairs, 'pair')}{skipped}; focal length known for {known}"
    yield (
        f"weights {found.weights} on {found.device} in {found.precision}, photos matched at {found.long_side} px, "
        f"{counted(found.batch, 'pair')} per batch, {counted(found.jobs, 'job')}"
    )
    yield f"features computed {counted(found.backbone_runs, 'time')} for {photos}"
    yield f"memory for features: {size_text(found.cache_bytes)}; all photos need {size_text(found.feature_bytes)}"
    yield f"output: {'' if found.measured_pairs else 'up to '}{disk_text(found.disk_bytes)}"
    if found.memory_bytes is not None:
        yield f"memory in use: {size_text(found.memory_bytes)}, measured on {counted(found.measured_pairs, 'pair')}"
    if found.seconds_a_pair is not None and found.seconds is not None:
        hours, minutes = divmod(round(found.seconds / 60), 60)
        whole = f"{hours} h {minutes} min" if found.seconds >= 600 else f"{found.seconds:.0f} s"
        yield f"time: {found.seconds_a_pair:.2f} s per pair, about {whole} in total"
    else:
        yield "time: not measured, because no sample pair was matched"
