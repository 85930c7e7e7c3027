"""`astr bench pipeline`: matching a set of photos, compared with a loop over pairs, SIFT and a lower limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astr_cli.options.bench import PipelineOptions
from astr_cli.options.output import ChartOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from astr_cli.bench.pipeline import Record
    from astr_cli.bench.records import AdaptiveRun, PipelineRun, PipelineSummary, RefinementRun

BAR = 40  # characters of the bar for a stage that takes all of the time


def command(options: PipelineOptions, charts: ChartOption, output: JsonOption) -> int:
    """Measure the whole of `astr match` on a folder of photos.

    The same run also measures the same model on one pair at a time, with the features of both photos computed again
    for each pair (as hloc does), and OpenCV's SIFT with the features of each photo computed once. The floor is a lower
    limit of the time: all operations at the rate of a matrix product plus all bytes at the rate of a copy. Both rates
    are measured in the same run.

    Examples:

    astr bench pipeline photos/ --max-images 20

    astr bench pipeline photos/ --nearest 5 --device cuda --json

    astr bench pipeline photos/ --adaptive-sample 60

    astr bench pipeline photos/ --plots charts/

    Exit codes: 0 = done; 2 = nothing was started.
    """
    from dataclasses import asdict
    from itertools import tee

    from astr_cli.bench.charts import draw_pipeline
    from astr_cli.bench.pipeline import bench_pipeline
    from astr_cli.cli import console
    from astr_cli.images.charts import ChartFolder

    folder = None if charts.plots is None else ChartFolder(charts.plots)
    found, drawn = tee(bench_pipeline(options))
    if output.as_json:
        for item in found:
            console.json_line({"event": _event(item), **asdict(item)})
    else:
        _print(found)
    if folder is not None:
        console.charts(draw_pipeline(drawn, folder), output.as_json)
    return 0


def _event(item: Record) -> str:
    from astr_cli.bench.records import AdaptiveRun, Floor, Machine, PipelineRun, RefinementRun

    kinds = {Machine: "machine", PipelineRun: "run", RefinementRun: "refinement", Floor: "floor"}
    kinds[AdaptiveRun] = "adaptive"
    return kinds.get(type(item), "summary")


def _print(found: Iterator[Record]) -> None:
    from rich.console import Console

    from astr_cli.bench.records import AdaptiveRun, Floor, Machine, PipelineRun, PipelineSummary, RefinementRun

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
            case RefinementRun():
                _print_refinement(out, item)
            case AdaptiveRun():
                _print_adaptive(out, item)
            case Floor():
                out.print(
                    f"\nfloor: {item.seconds:.1f} s ({item.image_gflop:.1f} GFLOP per photo, "
                    f"{item.pair_gflop:.1f} per pair, {item.gflop:.0f} in total; {item.gigabytes:.1f} GB)"
                )
            case PipelineSummary():
                _print_summary(out, item)


def _print_run(out: Console, run: PipelineRun) -> None:
    from astr_cli.wording import counted

    measured = "" if run.measured_pairs == run.pairs else f" (from {run.measured_pairs} measured)"
    memory = "".join(
        f", {amount:.0f} MiB {where}"
        for amount, where in ((run.host_megabytes, "of memory"), (run.device_megabytes, "of device memory"))
        if amount is not None
    )
    out.print(
        f"\n{run.name}: {run.pairs} pairs{measured} in {run.seconds:.1f} s, {run.pairs / run.seconds:.2f} pairs/s, "
        f"{run.matches:,.0f} matches per pair, features computed {counted(run.backbone_runs, 'time')}{memory}"
    )
    whole = sum(run.stages.values())
    for stage, seconds in run.stages.items():
        share = seconds / max(whole, 1e-9)
        out.print(f"  {stage:<13}{seconds:9.2f} s {100 * share:4.0f}% {'█' * round(BAR * share)}")
    if run.at_once > 1:
        out.print(f"  these times are sums over {run.at_once} batches processed in parallel")


def _print_refinement(out: Console, run: RefinementRun) -> None:
    share = "" if run.of_matching is None else f", {100 * run.of_matching:.0f}% of the processor time of matching"
    memory = "" if run.host_megabytes is None else f", {run.host_megabytes:.0f} MiB of memory"
    out.print(
        f"\nrefinement of the tracks: {run.keypoints:,} keypoints in {run.images} photos, {run.refined:,} of them "
        f"refined, in {run.seconds:.1f} s{share}{memory}"
    )


def _print_adaptive(out: Console, run: AdaptiveRun) -> None:
    from astr_cli.wording import counted

    clock, cores = run.seconds / run.without_seconds, run.core_seconds / run.without_core_seconds
    out.print(
        f"--adaptive, {run.name}: {counted(run.pairs, 'pair')}, {clock:.2f} of the time without it ({cores:.2f} in "
        f"processor time), {run.matches:,.0f} matches per pair (without it {run.without_matches:,.0f})"
    )


def _print_summary(out: Console, summary: PipelineSummary) -> None:
    from astr_cli.wording import counted

    in_cores = summary.core_over_floor
    cores = "" if in_cores is None else f" ({in_cores:.2f} in processor time)"
    spared = "" if in_cores is None else f" ({summary.core_speedup:.2f} in processor time)"
    reached = 100 * (summary.speedup / summary.sharing_allows)
    out.print(
        f"{summary.seconds_a_pair:.2f} s per pair, {summary.over_floor:.2f} times the floor{cores}\n"
        f"{summary.speedup:.2f} times{spared} as fast as one pair at a time; computing the features of each photo only "
        f"once ({100 * summary.backbone_share:.0f}% of that loop) allows {summary.sharing_allows:.2f} ({reached:.0f}% "
        "reached)\n"
        f"features computed {counted(summary.backbone_runs, 'time')} for "
        f"{counted(summary.least_backbone_runs, 'photo')}\n"
        f"SIFT takes {summary.of_sift:.2f} times as long as astr"
    )
