"""`astr plan`: what `astr match` would do, and what it would cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astr_cli.cli.options import (
    Batch,
    Cameras,
    Device,
    Images,
    Jobs,
    Json,
    LongSide,
    Masks,
    MaxMatches,
    Memory,
    OneWay,
    PairsFile,
    Precision,
    Rotate,
    Scaling,
    SkipBad,
    Threshold,
    Tiles,
    Weights,
    Workers,
)

if TYPE_CHECKING:
    from astr_cli.matching.run.events import Event
    from astr_cli.matching.run.forecast import Forecast


def command(
    pairs: PairsFile,
    images: Images = None,
    sample: Annotated[
        int,
        typer.Option(
            help="Pairs to match for a look at time and memory, or as many more as --batch and --jobs take at once, "
            "twice; nothing of them is kept. 0: none.",
            min=0,
        ),
    ] = 5,
    weights: Weights = "astr-small",
    long_side: LongSide = None,
    threshold: Threshold = 0.2,
    max_matches: MaxMatches = None,
    cameras: Cameras = "exif",
    device: Device = "auto",
    precision: Precision = None,
    batch: Batch = None,
    jobs: Jobs = None,
    workers: Workers = 2,
    memory: Memory = None,
    rotate: Rotate = "exif",
    masks: Masks = None,
    tiles: Tiles = False,
    scaling: Scaling = "auto",
    one_way: OneWay = False,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> int:
    """Say what `astr match` would do with a pairs file: images, backbone runs, disk, memory and time.

    All that a run checks before its start is checked. Time and memory are measured on the first pairs of the plan.

    Examples:

    astr plan pairs.txt --images photos/

    astr plan pairs.txt --tiles --sample 2 --json

    Exit codes: 0 the run could start; 2 it could not, and why; 4 disk or memory full, and 130 stopped by a signal,
    while pairs were matched for a look.
    """
    from dataclasses import asdict

    from astr_cli.cli import console
    from astr_cli.matching.resources.compute import MatchOptions, parse_size
    from astr_cli.matching.run.forecast import forecast

    options = MatchOptions(
        pairs=pairs,
        out=Path("matches.h5"),
        images=images,
        weights=weights,
        long_side=long_side,
        threshold=threshold,
        max_matches=max_matches,
        cameras=cameras,
        device=device,
        precision=precision,
        batch=batch,
        jobs=jobs,
        workers=workers,
        memory=None if memory is None else parse_size(memory),
        rotate=rotate,
        masks=masks,
        tiles=tiles,
        scaling=scaling,
        one_way=one_way,
        skip_bad=skip_bad,
    )
    found = forecast(options, sample, _tell)
    if as_json:
        console.json_line({"event": "plan", **asdict(found)})
    else:
        for line in _lines(found):
            print(line, flush=True)
    return 0


def _tell(event: "Event") -> None:
    from astr_cli.cli import console
    from astr_cli.cli.match_output import stop_line
    from astr_cli.matching.run.events import Notice, StopRequested

    if isinstance(event, Notice):
        console.warn(event.text)
    elif isinstance(event, StopRequested):
        console.warn(stop_line(event))


def _lines(found: "Forecast") -> Iterator[str]:
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
