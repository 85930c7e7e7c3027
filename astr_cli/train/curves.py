"""curves.png: how a run goes, drawn from its log.csv and validation.csv."""

import csv
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from astr_cli.files import write_whole
from astr_cli.train.checkpoint import LOG
from astr_cli.train.validation import FILE

CURVES = "curves.png"
POINTS = 300  # a curve: means over as many stretches of the run
WIDTH, HEIGHT = 12, 11  # inches


class Panel(NamedTuple):
    """One of the pictures: columns of log.csv over the steps, or of validation.csv."""

    title: str
    columns: tuple[str, ...]
    file: str = LOG
    logarithmic: bool = False


PANELS = (
    Panel("loss", ("loss", "coarse", "spots", "fine"), logarithmic=True),
    Panel("true matches that are their row's maximum", ("accuracy",)),
    Panel("true matches inside their spot, by round", ("inside1", "inside2", "inside3", "inside4")),
    Panel("fine error, median, pixels", ("fine_error",), logarithmic=True),
    Panel("learning rate", ("rate",)),
    Panel("validation: pose AUC, precision", ("auc5", "auc10", "auc20", "precision"), FILE),
)


def draw_curves(folder: Path) -> Path:
    """Draw folder/curves.png. Raises ImportError where matplotlib is missing."""
    from matplotlib.figure import Figure  # not pyplot: that keeps figures, and looks for a screen

    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    tables = {name: read_table(folder / name) for name in (LOG, FILE)}
    for panel, axes in zip(PANELS, figure.subplots(3, 2).flat, strict=True):
        table = tables[panel.file]
        for column in panel.columns:
            if column in table:
                axes.plot(
                    *thinned(table["step"], table[column]), label=column, marker="." if panel.file == FILE else ""
                )
        axes.set(title=panel.title, xlabel="step", yscale="log" if panel.logarithmic else "linear")
        axes.grid(alpha=0.3)
        if len(panel.columns) > 1 and axes.lines:
            axes.legend()
    path = folder / CURVES
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    write_whole(path, drawn.getvalue())
    return path


def read_table(path: Path) -> dict[str, list[float]]:
    """Columns of a CSV file of numbers; empty when there is none yet. A row that a kill cut short is left out."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    whole = [row for row in rows if len(row) == len(header)]
    return {name: [float(row[k]) for row in whole] for k, name in enumerate(header)}


def thinned(steps: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """Means over stretches of equal length, POINTS of them at most; values that are not finite are left out."""
    stretch = -(-len(steps) // POINTS) or 1
    points = []
    for start in range(0, len(steps), stretch):
        chosen = slice(start, start + stretch)
        known = [value for value in values[chosen] if abs(value) < float("inf")]
        if known:
            points.append((steps[chosen][-1], sum(known) / len(known)))
    return [step for step, _ in points], [value for _, value in points]
