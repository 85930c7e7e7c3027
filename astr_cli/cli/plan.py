"""`astr plan`: what `astr match` would do, and what it would cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from astr_cli.matching import Event, Forecast


def command(
    pairs: Annotated[Path, typer.Argument(help="Text file with two image names a line; - is standard input.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Folder that the image names are relative to.", show_default="the folder of PAIRS"),
    ] = None,
    sample: Annotated[
        int,
        typer.Option(
            help="Pairs to match for a look at time and memory, or as many more as --batch and --jobs take at once, "
            "twice; nothing of them is kept. 0: none.",
            min=0,
        ),
    ] = 5,
    weights: Annotated[str, typer.Option(help="Name of shipped weights, or a safetensors file.")] = "astr-small",
    long_side: Annotated[
        int | None, typer.Option(help="As in astr match.", show_default="832 on a GPU, 640 on a CPU")
    ] = None,
    threshold: Annotated[float, typer.Option(help="As in astr match.")] = 0.2,
    max_matches: Annotated[int | None, typer.Option(help="As in astr match.", show_default="all")] = None,
    cameras: Annotated[str, typer.Option(help="As in astr match.")] = "exif",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16.", show_default="bf16 on a GPU, fp32 on a CPU")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs at once.", show_default="8 on a GPU, 1 on a CPU")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="As in astr match.", show_default="2 on a GPU; cores, at most 4, on a CPU")
    ] = None,
    workers: Annotated[int, typer.Option(help="Threads that decode photos.")] = 2,
    memory: Annotated[
        str | None, typer.Option(help="Room for the features of photos.", show_default="as in astr match")
    ] = None,
    rotate: Annotated[str, typer.Option(help="exif, auto or none.")] = "exif",
    masks: Annotated[Path | None, typer.Option(help="Folder of COLMAP masks.")] = None,
    tiles: Annotated[bool, typer.Option("--tiles", help="As in astr match.")] = False,
    scaling: Annotated[str, typer.Option(help="As in astr match: auto or off.")] = "auto",
    one_way: Annotated[bool, typer.Option("--one-way", help="As in astr match.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on without bad images.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
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
    from astr_cli.matching import MatchOptions, forecast, parse_precision, parse_rotate, parse_scaling, parse_size

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
        precision=parse_precision(precision),
        batch=batch,
        jobs=jobs,
        workers=workers,
        memory=None if memory is None else parse_size(memory),
        rotate=parse_rotate(rotate),
        masks=masks,
        tiles=tiles,
        scaling=parse_scaling(scaling),
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
    from astr_cli.matching.events import Notice, StopRequested

    if isinstance(event, Notice):
        console.warn(event.text)
    elif isinstance(event, StopRequested):
        console.warn(stop_line(event))


def _lines(found: "Forecast") -> Iterator[str]:
    from astr_cli.cli.match_output import size_text

    skipped = f", {found.skipped} left out" if found.skipped else ""
    yield f"{found.images} images, {found.pairs} pairs{skipped}; focal length known for {found.known_focals}"
    yield (
        f"{found.weights} on {found.device} in {found.precision} at {found.long_side} px, "
        f"batches of {found.batch}, {found.jobs} at once"
    )
    yield f"backbone runs: {found.backbone_runs}, at least {found.images}"
    yield (f"room for features: {size_text(found.cache_bytes)}; all of them: {size_text(found.feature_bytes)}")
    yield f"disk: {size_text(found.disk_bytes)}"
    if found.memory_bytes is not None:
        yield f"memory: {size_text(found.memory_bytes)} while {found.measured_pairs} pairs were matched"
    if found.seconds_a_pair is not None and found.seconds is not None:
        hours, minutes = divmod(round(found.seconds / 60), 60)
        whole = f"{hours} h {minutes} min" if found.seconds >= 600 else f"{found.seconds:.0f} s"
        yield f"time: {found.seconds_a_pair:.2f} s a pair, about {whole} in all"
