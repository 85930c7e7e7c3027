"""`astr bench pipeline`: a set of photos, beside a loop over pairs, SIFT and the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.bench import PipelineOptions
from astr_cli.options.output import JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from astr_cli.bench.records import Floor, Machine, PipelineRun, PipelineSummary

    Record = Machine | PipelineRun | Floor | PipelineSummary

BAR = 40  # characters of a stage that takes all of the time


def command(options: PipelineOptions, output: JsonOption) -> int:
    """Measure the whole of `astr match` on a folder of photos.

    Beside it in the same run: the same model on one pair at a time, both backbones run for each (what hloc does), and
    OpenCV's SIFT, each photo's features once. The floor is the time that the operations would take at the rate of a
    matrix product and the bytes at that of a copy, added up; both rates are measured in the same run.

    Examples:

    astr bench pipeline photos/ --max-images 20

    astr bench pipeline photos/ --nearest 5 --device cuda --json

    Exit codes: 0 done; 2 nothing was started.
    """
    from dataclasses import asdict

    from astr_cli.bench.pipeline import bench_pipeline
    from astr_cli.cli import console

    found = bench_pipeline(options)
    if output.as_json:
        for item in found:
            console.json_line({"event": _event(item), **asdict(item)})
    else:
        _print(found)
    return 0


def _event(item: Record) -> str:
    from astr_cli.bench.records import Floor, Machine, PipelineRun

    return {Machine: "machine", PipelineRun: "run", Floor: "floor"}.get(type(item), "summary")


def _print(found: Iterator[Record]) -> None:
    from rich.console import Console

    from astr_cli.bench.records import Floor, Machine, PipelineRun, PipelineSummary

    out = Console(highlight=False, soft_wrap=True)
    for item in found:
        match item:
            case Machine():
                out.print(
                    f"{item.device}, {item.threads} threads, torch {item.torch}, {item.dtype}: "
                    f"{item.matmul_gflops:.0f} GFLOP/s in a matrix product, {item.copy_gigabytes:.1f} GB/s in a copy"
                )
            case PipelineRun():
                _print_run(out, item)
            case Floor():
                out.print(
                    f"\nfloor: {item.seconds:.1f} s ({item.image_gflop:.1f} GFLOP an image, "
                    f"{item.pair_gflop:.1f} a pair, {item.gflop:.0f} in all; {item.gigabytes:.1f} GB)"
                )
            case PipelineSummary():
                _print_summary(out, item)


def _print_run(out: Console, run: PipelineRun) -> None:
    measured = "" if run.measured_pairs == run.pairs else f" (from {run.measured_pairs} measured)"
    memory = "".join(
        f", {amount:.0f} MiB {where}"
        for amount, where in ((run.host_megabytes, "resident"), (run.device_megabytes, "on the device"))
        if amount is not None
    )
    out.print(
        f"\n{run.name}: {run.pairs} pairs{measured} in {run.seconds:.1f} s, {run.pairs / run.seconds:.2f} pairs/s, "
        f"{run.matches:.0f} matches each, {run.backbone_runs} backbone runs{memory}"
    )
    whole = sum(run.stages.values())
    for stage, seconds in run.stages.items():
        share = seconds / max(whole, 1e-9)
        out.print(f"  {stage:<13}{seconds:9.2f} s {100 * share:4.0f}% {'█' * round(BAR * share)}")
    if run.at_once > 1:
        out.print(f"  added up over {run.at_once} batches in work at the same time")


def _print_summary(out: Console, summary: PipelineSummary) -> None:
    in_cores = summary.core_over_floor
    cores = "" if in_cores is None else f" ({in_cores:.2f} in processor time)"
    spared = "" if in_cores is None else f" ({summary.core_speedup:.2f} in processor time)"
    reached = 100 * (summary.speedup / summary.sharing_allows)
    out.print(
        f"{summary.seconds_a_pair:.2f} s a pair, {summary.over_floor:.2f} times the floor{cores}\n"
        f"{summary.speedup:.2f} times{spared} as fast as one pair at a time, {reached:.0f}% of the "
        f"{summary.sharing_allows:.2f} that sharing the backbone ({100 * summary.backbone_share:.0f}% of that loop) "
        "allows\n"
        f"backbone runs: {summary.backbone_runs}, at least {summary.least_backbone_runs}\n"
        f"SIFT's time over ours: {summary.of_sift:.2f}"
    )
