"""curves.png: the progress of a run, drawn from its log.csv and validation.csv."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from astr_cli.files import write_whole
from astr_cli.images.charts import chart, encoded, plain_marks, say_nothing, whole_numbers
from astr_cli.train.checkpoint import LOG
from astr_cli.train.validation import FILE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.png"
POINTS = 300  # per curve: means over this many stretches of the run
WIDTH, HEIGHT = 12, 11  # inches


class Panel(NamedTuple):
    """One diagram: columns of log.csv or validation.csv over the steps."""

    title: str
    columns: tuple[str, ...]
    file: str = LOG
    logarithmic: bool = False


PANELS = (
    Panel("loss", ("loss", "coarse", "spots", "fine"), logarithmic=True),
    Panel("share of true matches that are the maximum of their row", ("accuracy",)),
    Panel("share of true matches inside their spot, by round", ("inside1", "inside2", "inside3", "inside4")),
    Panel("median error of the fine stage, pixels", ("fine_error",), logarithmic=True),
    Panel("learning rate", ("rate",)),
    Panel("validation: pose AUC, precision", ("auc5", "auc10", "auc20", "precision"), FILE),
)


def draw_curves(folder: Path) -> Path:
    """Draw folder/curves.png. Raises NoMatplotlib if matplotlib is missing."""
    tables = {name: read_table(folder / name) for name in (LOG, FILE)}
    path = folder / CURVES
    with chart(WIDTH, HEIGHT) as figure:
        for panel, axes in zip(PANELS, figure.subplots(3, 2).flat, strict=True):
            _draw(panel, axes, tables[panel.file])
        write_whole(path, encoded(figure))
    return path


def _draw(panel: Panel, axes: "Axes", table: dict[str, list[float]]) -> None:
    axes.set_title(panel.title)
    curves = {name: thinned(table["step"], table[name]) for name in panel.columns if name in table}
    if not any(steps for steps, _ in curves.values()):
        say_nothing(axes, "no values yet")
        return
    for name, points in curves.items():
        if points[0]:
            axes.plot(*points, label=name, marker="." if panel.file == FILE else "")
    axes.set_xlabel("step")
    whole_numbers(axes.xaxis)
    if panel.logarithmic:
        axes.set_yscale("log")
        plain_marks(axes.yaxis)
    if len(axes.lines) > 1:
        axes.legend()


def read_table(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV file of numbers; empty if the file does not exist. An incomplete last row is left out."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    whole = [row for row in rows if len(row) == len(header)]
    return {name: [float(row[k]) for row in whole] for k, name in enumerate(header)}


def thinned(steps: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """Means over at most POINTS stretches of equal length; values that are not finite are left out."""
    stretch = -(-len(steps) // POINTS) or 1
    points = []
    for start in range(0, len(steps), stretch):
        chosen = slice(start, start + stretch)
        known = [value for value in values[chosen] if abs(value) < float("inf")]
        if known:
            points.append((steps[chosen][-1], sum(known) / len(known)))
    return [step for step, _ in points], [value for _, value in points]
