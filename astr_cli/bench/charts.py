"""Charts of the results of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from astr_cli.bench.records import AdaptiveRun, Floor, Machine, PipelineRun, PipelineSummary, RefinementRun, Timing
from astr_cli.images.charts import COLOURS, SERIES, ChartFolder, chart, plain_marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 12  # inches
BAR = 0.34  # inches per bar
LEGEND = 0.3  # inches
AROUND = 1.1  # inches of a panel that its title and axis take
STEPS = ("forward", "forward+backward")
LEAST_SHARE = 3  # % of the time: a stage with less has no number in its bar

Bars = Sequence[tuple[str, float, str]]  # name, length, text at the end


def draw_operators(found: Iterable[Machine | Timing], folder: ChartFolder) -> list[Path]:
    """One chart per operator, grid and batch: times and memory of the implementations, a row per type of lists."""
    charts: dict[str, dict[str, list[Timing]]] = {}
    for item in found:
        if isinstance(item, Timing):
            name = f"{item.operator} {item.grid} batch {item.batch}".replace(" ", "-")
            charts.setdefault(name, {}).setdefault(item.lists, []).append(item)
    return [_draw_size(name, list(panels.values()), folder) for name, panels in charts.items()]


def _draw_size(name: str, panels: Sequence[Sequence[Timing]], folder: ChartFolder) -> Path:
    measured = [[timing for timing in panel if timing.milliseconds is not None] for panel in panels]
    heights = [AROUND + 2 * BAR * len({timing.implementation for timing in panel}) for panel in measured]
    with chart(WIDTH, sum(heights) + LEGEND) as figure:
        grid = figure.subplots(len(panels), 2, squeeze=False, sharey="row", height_ratios=heights, width_ratios=(3, 2))
        for (times, memory), panel in zip(grid, measured, strict=True):
            first = panel[0]
            peer = next((timing.implementation for timing in panel if timing.ratio == 1), None)
            lists = "" if first.keys is None else f", {first.lists} lists, {first.keys:.0f} keys per query"
            _draw_steps(times, panel, [(timing.milliseconds, _ratio(timing)) for timing in panel])
            times.set_title(f"{first.operator}, {first.grid}, batch {first.batch}{lists}")
            times.set_xlabel("milliseconds" if peer is None else f"milliseconds (times as fast as {peer})")
            _draw_steps(memory, panel, [(timing.megabytes, "") for timing in panel])
            memory.set(title="memory", xlabel="MB at most, beyond the inputs")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(STEPS))
        return folder.write(figure, name)


def _ratio(timing: Timing) -> str:
    return "" if timing.ratio is None else f" ({timing.ratio:.2f})"


def _draw_steps(axes: Axes, timings: Sequence[Timing], values: Sequence[tuple[float | None, str]]) -> None:
    """Two bars per implementation, on a logarithmic axis; no bar where a value is None or 0."""
    names = list(dict.fromkeys(timing.implementation for timing in timings))
    for number, step in enumerate(STEPS):
        rows, lengths = [], []
        for timing, (value, text) in zip(timings, values, strict=True):
            if timing.step == step and value:
                rows.append(names.index(timing.implementation) + 0.4 * (number - 0.5))
                lengths.append(value)
                _write(axes, value, rows[-1], (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + text)
        axes.barh(rows, lengths, 0.36, color=SERIES[number], label=step.replace("+", " and "))
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.2)
    plain_marks(axes.xaxis)


def _write(axes: Axes, end: float, row: float, text: str) -> None:
    """At the end of a bar."""
    axes.annotate(text, (end, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5)


Record = Machine | PipelineRun | RefinementRun | AdaptiveRun | Floor | PipelineSummary


def draw_pipeline(found: Iterable[Record], folder: ChartFolder) -> list[Path]:
    """pipeline.png: seconds per pair of each way to match, and the stages that they went to; none without runs."""
    records = list(found)
    runs = [item for item in records if isinstance(item, PipelineRun)]
    if not runs:
        return []
    bars = [(run.name, run.seconds / run.pairs, f"{run.matches:,.0f} matches") for run in runs]
    pairs = runs[0].pairs
    for item in records:
        if isinstance(item, Floor):
            bars.append(("floor", item.seconds / pairs, "lower limit"))
        elif isinstance(item, RefinementRun):
            bars.append(("refinement", item.seconds / pairs, "one thread"))
    with chart(WIDTH, 2 * AROUND + BAR * (2 * len(bars) + 2 * len(runs))) as figure:
        times, stages = figure.subplots(2, 1, height_ratios=[len(bars), 1.4 * len(runs)])
        _draw_bars(times, bars)
        times.set(title=f"Seconds per pair, {runs[0].images} photos, {pairs} pairs", xlabel="seconds")
        _draw_stages(stages, runs)
        return [folder.write(figure, "pipeline")]


def _draw_bars(axes: Axes, bars: Bars) -> None:
    names = [name for name, _, _ in bars]
    colours = [COLOURS["accent"] if row == 0 else COLOURS["soft"] for row in range(len(bars))]
    axes.barh(names, [length for _, length, _ in bars], 0.6, color=colours)
    for row, (_, length, text) in enumerate(bars):
        _write(axes, length, row, f"{length:.3g} s, {text}")
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.15)


def _draw_stages(axes: Axes, runs: Sequence[PipelineRun]) -> None:
    """A bar of 100% per run."""
    ways = [run.name for run in runs]
    left = [0.0] * len(runs)
    for number, stage in enumerate(dict.fromkeys(stage for run in runs for stage in run.stages)):
        shares = [100 * run.stages.get(stage, 0.0) / max(sum(run.stages.values()), 1e-9) for run in runs]
        bars = axes.barh(ways, shares, 0.6, left, color=SERIES[number % len(SERIES)], label=stage)
        texts = [f"{share:.0f}" if share >= LEAST_SHARE else "" for share in shares]
        axes.bar_label(bars, texts, label_type="center", color=COLOURS["paper"], fontsize=9)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.set(title="Share of the time by stage", xlabel="% of the time", xlim=(0, 100))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=len(SERIES) // 2)
