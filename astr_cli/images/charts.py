"""How every chart of astr looks: the colours, fonts and grid of its pages, and of its pictures by matplotlib."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1d2733",
    "soft": "#66717f",
    "line": "#d9dfe6",
    "paper": "#ffffff",
    "back": "#f4f6f8",
    "accent": "#1f5fbf",
    "good": "#1f8a4c",
    "bad": "#c0392b",
    "open": "#d99a1c",
    "doubt": "#8e44ad",
    "warn": "#b26a00",
}
SERIES = tuple(COLOURS[name] for name in ("accent", "open", "good", "bad", "doubt", "soft")) + (
    "#2aa3b8",
    "#8a5a3c",
    "#c96a9b",
    "#7f9a2e",
)
FONTS = ("Segoe UI", "Roboto", "Helvetica Neue", "Arial")
DPI = 100
CROWDED = 500  # largest over smallest value of a logarithmic axis
MADE_BY = "astr"  # in each picture: by this astr knows a chart of its own


class NoMatplotlib(AstrError):
    """Charts need matplotlib."""


def check_charts() -> None:
    """Raises NoMatplotlib: it is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise NoMatplotlib("charts need matplotlib; install it: pip install 'astr-cli[train]'") from None


@contextmanager
def chart(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of this size in inches; what is drawn in the block has astr's style.

    Raises NoMatplotlib: it is not installed.
    """
    check_charts()
    from matplotlib import rc_context
    from matplotlib.figure import Figure  # not pyplot, which keeps figures and looks for a screen

    with rc_context(_style()):
        yield Figure(figsize=(width, height), layout="constrained")


def _style() -> Any:
    """matplotlib's settings for one figure; their names are a type of its newest versions only."""
    from matplotlib.rcsetup import cycler

    ink, soft, line = COLOURS["ink"], COLOURS["soft"], COLOURS["line"]
    return {
        "font.family": "sans-serif",
        "font.sans-serif": [*FONTS, "DejaVu Sans"],  # the last one comes with matplotlib
        "font.size": 10,
        "text.color": ink,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlecolor": ink,
        "axes.titlelocation": "left",
        "axes.prop_cycle": cycler(color=SERIES),
        "axes.labelcolor": soft,
        "axes.edgecolor": line,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": line,
        "grid.linewidth": 0.8,
        "xtick.color": soft,
        "ytick.color": soft,
        "figure.facecolor": COLOURS["paper"],
        "axes.facecolor": COLOURS["paper"],
        "legend.framealpha": 0.85,
        "legend.edgecolor": "none",
        "lines.linewidth": 1.6,
    }


def plain_marks(axis: Axis) -> None:
    """Marks of a logarithmic axis as plain numbers: 1, 2, 5, 10 and so on, or 1, 10, 100 where there would be many."""
    from matplotlib.ticker import LogLocator, NullLocator

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < CROWDED * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def whole_numbers(axis: Axis) -> None:
    """Marks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(6, integer=True))


def say_nothing(axes: Axes, why: str) -> None:
    """A panel without data."""
    axes.set_axis_off()
    axes.text(0, 0.5, why, color=COLOURS["soft"], transform=axes.transAxes)


def encoded(figure: Figure) -> bytes:
    """The figure as PNG; equal figures give equal bytes."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": MADE_BY})
    return drawn.getvalue()


class ChartFolder:
    """A folder of charts. Earlier charts of astr are replaced; any other file keeps its name, and the chart gets
    another. Raises AstrError when matplotlib is missing, or the folder or a chart cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        check_charts()
        check_output_folder(folder, "--plots")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AstrError(f"{folder}: cannot be created ({error.strerror}); choose another --plots") from None

    def write(self, figure: Figure, name: str) -> Path:
        """Writes NAME.png, with a number where a file that is no chart has that name."""
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        paths = (self._folder / f"{each}.png" for each in names)
        path = next(path for path in paths if not os.path.lexists(path) or is_chart(path))
        try:
            write_whole(path, encoded(figure))
        except OSError as error:
            raise AstrError(f"{path}: cannot be written ({error.strerror}); choose another --plots") from None
        return path


def is_chart(path: Path) -> bool:
    """Whether astr drew this file."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return bool(image.info.get("Software") == MADE_BY)
    except (OSError, ValueError, SyntaxError):
        return False
