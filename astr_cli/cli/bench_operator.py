"""`astr bench operator`: the operators compared with other implementations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.bench import OperatorOptions
from astr_cli.options.output import ChartOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from astr_cli.bench.records import Machine, Timing


def command(options: OperatorOptions, charts: ChartOption, output: JsonOption) -> int:
    """Measure sparse attention and the streaming dual softmax.

    For attention, each of astr's backends is compared with masked SDPA, SDPA without a mask (a different function that
    shows the cost of dense attention), flex_attention, and the three steps of the paper's supplement with everything in
    memory. "roofline" is a lower limit: the time for the operations alone or the bytes alone, at the rates of a matrix
    product and a copy that are measured in the same run. The streaming dual softmax is compared with the dense one,
    which keeps the whole matrix in memory.

    Times are medians; the implementations are called in turn. A ratio above 1 means faster than masked SDPA, or faster
    than the dense dual softmax. MB is the peak memory in addition to the inputs.

    Examples:

    astr bench operator --grid 60x80 --batch 1

    OMP_NUM_THREADS=1 astr bench operator --grid 104x104 --lists realistic --skip flex --json

    astr bench operator --grid 60x80 --plots charts/

    Exit codes: 0 = done; 2 = nothing was started.
    """
    from dataclasses import asdict
    from itertools import tee

    from astr_cli.bench.charts import draw_operators
    from astr_cli.bench.operators import bench_operators
    from astr_cli.bench.records import Machine
    from astr_cli.cli import console
    from astr_cli.images.charts import ChartFolder

    folder = None if charts.plots is None else ChartFolder(charts.plots)
    found, drawn = tee(bench_operators(options))
    if output.as_json:
        for item in found:
            console.json_line({"event": "machine" if isinstance(item, Machine) else "timing", **asdict(item)})
    else:
        _print_tables(found)
    if folder is not None:
        console.charts(draw_operators(drawn, folder), output.as_json)
    return 0


def _print_tables(found: Iterator[Machine | Timing]) -> None:
    """One table per size, printed when both of its steps are measured."""
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


def _size_of(timing: Timing) -> tuple[object, ...]:
    return timing.operator, timing.grid, timing.batch, timing.lists


def _print_size(out: Console, timings: list[Timing]) -> None:
    from rich.table import Table

    first = timings[0]
    title = f"{first.operator}, {first.grid}, batch {first.batch}"
    if first.keys is not None:
        title += f", {first.lists} lists, {first.keys:.0f} keys per query"
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


def _figures(timing: Timing) -> tuple[str, str, str]:
    if timing.milliseconds is None:
        return "", "", ""
    ratio = "" if timing.ratio is None else f"{timing.ratio:.2f}"
    memory = "" if timing.megabytes is None else f"{timing.megabytes:.0f}"
    return f"{timing.milliseconds:.3g}" if timing.milliseconds < 1 else f"{timing.milliseconds:.1f}", ratio, memory
