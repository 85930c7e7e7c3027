"""`astr bench`: how fast the parts are, each beside its peers in the same run."""

from typing import TYPE_CHECKING, Annotated

import typer

from astr_cli.cli import bench_pipeline
from astr_cli.cli.options import Device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from astr_cli.bench.records import Machine, Timing

bench = typer.Typer(help="Measure how fast the parts are, each beside its peers in the same run.", no_args_is_help=True)
bench.command("pipeline")(bench_pipeline.command)


@bench.command("operator")
def operator(
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Grid of 1/8 cells, HEIGHTxWIDTH; may be repeated.", show_default="60x80, 104x104, 144x144"),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Pairs at a time; may be repeated.", show_default="1 and 8", min=1)
    ] = None,
    lists: Annotated[
        list[str] | None,
        typer.Option(help="Key lists: realistic (10% wrong centres) or random; may be repeated.", show_default="both"),
    ] = None,
    heads: Annotated[int, typer.Option(help="Heads of 32 channels: 8 in astr, 4 in astr-small.", min=1)] = 8,
    device: Device = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, float16 or bfloat16; of attention only.", show_default="float32 on CPU, float16 on GPU"
        ),
    ] = None,
    limit: Annotated[float, typer.Option(help="Leave out what would take more seconds a call.")] = 20.0,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave out implementations with this in their name; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: machine, then timings.")] = False,
) -> int:
    """Measure sparse attention and the streaming dual softmax.

    Every backend of ours stands beside masked SDPA, SDPA without a mask (another function: what dense attention
    costs), flex_attention, the three steps of the paper's supplement with everything in memory, and the roofline: the
    time that the operations or the bytes alone would take at the rates of a matrix product and of a copy, measured in
    the same run. The dual softmax stands beside the one that holds its whole matrix. Times are medians of calls taken
    in turn; ratios are to masked SDPA, or to the dense dual softmax, above 1 is quicker; MB is the most memory held at
    once beyond the inputs.

    Examples:

    astr bench operator --grid 60x80 --batch 1

    OMP_NUM_THREADS=1 astr bench operator --grid 104x104 --lists realistic --skip flex --json

    Exit codes: 0 done; 2 nothing was started.
    """
    from dataclasses import asdict

    from astr_cli.bench.operators import OperatorRequest, bench_operators
    from astr_cli.bench.records import Machine
    from astr_cli.cli import console

    plain = OperatorRequest()
    request = OperatorRequest(
        grids=tuple(_grid(text) for text in grid) if grid else plain.grids,
        batches=tuple(batch) if batch else plain.batches,
        lists=tuple(lists) if lists else plain.lists,
        heads=heads,
        device=device,
        dtype=dtype,
        limit=limit,
        skip=tuple(skip or ()),
    )
    found = bench_operators(request)
    if as_json:
        for item in found:
            console.json_line({"event": "machine" if isinstance(item, Machine) else "timing", **asdict(item)})
    else:
        _print_tables(found)
    return 0


def _grid(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise typer.BadParameter(f"--grid {text}: expected HEIGHTxWIDTH in cells, such as 60x80.")
    return int(height), int(width)


def _print_tables(found: "Iterator[Machine | Timing]") -> None:
    """One table a size, as soon as both of its steps are there."""
    from rich.console import Console

    from astr_cli.bench.records import Machine

    out = Console(highlight=False)
    size: list[Timing] = []
    for item in found:
        if isinstance(item, Machine):
            out.print(
                f"{item.device}, {item.threads} threads, torch {item.torch}, {item.dtype}: "
                f"{item.matmul_gflops:.0f} GFLOP/s in a matrix product, {item.copy_gigabytes:.1f} GB/s in a copy"
            )
            continue
        if size and _size_of(size[0]) != _size_of(item):
            _print_size(out, size)
            size = []
        size.append(item)
    if size:
        _print_size(out, size)


def _size_of(timing: "Timing") -> tuple[object, ...]:
    return timing.operator, timing.grid, timing.batch, timing.lists


def _print_size(out: "Console", timings: "list[Timing]") -> None:
    from rich.table import Table

    first = timings[0]
    title = f"{first.operator}, {first.grid}, batch {first.batch}"
    if first.keys is not None:
        title += f", {first.lists} lists, {first.keys:.0f} keys a query"
    table = Table("", title=title)
    for step in ("forward", "both ways"):
        for heading in (f"{step} ms", "ratio", "MB"):
            table.add_column(heading, justify="right")
    rows: dict[str, list[Timing]] = {}
    for timing in timings:
        rows.setdefault(timing.implementation, []).append(timing)
    for name, steps in rows.items():
        if not all(timing.skipped for timing in steps):
            table.add_row(name, *(text for timing in steps for text in _figures(timing)))
    out.print(table)
    for timing in timings:
        if timing.skipped:
            out.print(f"left out: {timing.implementation}, {timing.step}: {timing.skipped}", soft_wrap=True)


def _figures(timing: "Timing") -> tuple[str, str, str]:
    if timing.milliseconds is None:
        return "", "", ""
    ratio = "" if timing.ratio is None else f"{timing.ratio:.2f}"
    memory = "" if timing.megabytes is None else f"{timing.megabytes:.0f}"
    return f"{timing.milliseconds:.3g}" if timing.milliseconds < 1 else f"{timing.milliseconds:.1f}", ratio, memory
