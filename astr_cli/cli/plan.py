"""`astr plan`: what `astr match` would do, and what it would cost."""

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
    """Say what `astr match` would do with a pairs file: photos, pairs, disk, memory and time.

    Everything that a run checks before its start is checked. Time and memory are measured on the first pairs.

    Examples:

    astr plan pairs.txt --images photos/

    astr plan pairs.txt --tiles --sample 2 --json

    Exit codes: 0 the run could start; 2 it could not, and why; 4 disk or memory full, and 130 stopped by a signal,
    while the sample was matched.
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
    from astr_cli.cli.match_output import stop_line
    from astr_cli.matching.run.events import Notice, StopRequested

    if isinstance(event, Notice):
        console.warn(event.text)
    elif isinstance(event, StopRequested):
        console.warn(stop_line(event))


def _lines(found: Forecast) -> Iterator[str]:
    from astr_cli.cli.match_output import disk_text, size_text
    from astr_cli.wording import counted

    skipped = f", {found.skipped} left out" if found.skipped else ""
    listed = f"{counted(found.images, 'image')}, {counted(found.pairs, 'pair')}"
    yield f"{listed}{skipped}; focal length known for {found.known_focals}"
    yield (
        f"{found.weights} on {found.device} in {found.precision} at {found.long_side} px, "
        f"batches of {found.batch}, {found.jobs} at once"
    )
    yield f"backbone runs: {found.backbone_runs}, at least {found.images}"
    yield (f"room for features: {size_text(found.cache_bytes)}; all of them: {size_text(found.feature_bytes)}")
    yield f"expecting {'' if found.measured_pairs else 'up to '}{disk_text(found.disk_bytes)}"
    were = "was" if found.measured_pairs == 1 else "were"
    if found.memory_bytes is not None:
        yield f"memory: {size_text(found.memory_bytes)} while {counted(found.measured_pairs, 'pair')} {were} matched"
    if found.seconds_a_pair is not None and found.seconds is not None:
        hours, minutes = divmod(round(found.seconds / 60), 60)
        whole = f"{hours} h {minutes} min" if found.seconds >= 600 else f"{found.seconds:.0f} s"
        yield f"time: {found.seconds_a_pair:.2f} s a pair, about {whole} in all"
    else:
        yield "time: not measured, as no pair was matched for a look"
