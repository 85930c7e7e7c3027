"""What `astr eval` prints: one table per type of benchmark, or JSON lines."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from astr_cli.cli import console

if TYPE_CHECKING:
    from astr_cli.evaluate.benchmark import Benchmark, Kind
    from astr_cli.evaluate.comparison import Change, Comparison
    from astr_cli.evaluate.run import Evaluation

WIDTH = 120  # columns if the output is not a terminal: no program can read a wrapped table
ROOM = 110  # columns that the complete tables need


class Column(NamedTuple):
    """A heading, and how the figures of these names are written next to each other."""

    heading: str
    fields: str  # separated by blanks
    write: Callable[[Any], str]
    spare: bool = False  # left out on terminals narrower than ROOM

    def cell(self, totals: object) -> str:
        """The text for one row."""
        return "/".join(self.write(getattr(totals, field)) for field in self.fields.split())


def estimator(value: str) -> str:
    """The name of an estimator as its authors spell it."""
    return "PoseLib" if value == "poselib" else value.upper()


def percent(value: float | None) -> str:
    """A share from 0 to 1, in percent."""
    return "-" if value is None else f"{100 * value:.1f}"


def pixels(value: float | None) -> str:
    """Pixels, to hundredths."""
    return "-" if value is None else f"{value:.2f}"


def whole(value: float) -> str:
    """A count, or a mean of counts."""
    return f"{value:.0f}"


TABLES: "dict[Kind, tuple[str, tuple[Column, ...]]]" = {
    "pose": (
        "Relative pose: AUC in % at degrees",
        (
            Column("pose by", "estimator", estimator),
            Column("AUC@1/2/3", "auc1 auc2 auc3", percent),
            Column("AUC@5/10/20", "auc5 auc10 auc20", percent),
            Column("precision %", "precision", percent, spare=True),
            Column("matches", "matches", whole),
        ),
    ),
    "homography": (
        "Homography: corner-error AUC in % at pixels of the matched size",
        (
            Column("AUC@3/5/10", "auc3 auc5 auc10", percent),
            Column("within 3 px", "right", whole),
            Column("matches", "matches", whole),
        ),
    ),
    "disparity": (
        "Dense disparity: end-point error in pixels of the matched size",
        (
            Column("median px", "median", pixels),
            Column("under 1 px %", "under1", percent),
            Column("with truth, all", "known", whole),
            Column("matches", "matches", whole),
        ),
    ),
}


def announce(benchmark: "Benchmark[Any]") -> None:
    """Prints on stderr which benchmark is next."""
    noun = "pair" if len(benchmark.pairs) + benchmark.left_out == 1 else "pairs"
    print(f"{benchmark.name}: {_pairs(benchmark)} {noun}, {benchmark.kind}", file=sys.stderr, flush=True)


def tell_missing(found: "Sequence[Benchmark[Any]]") -> None:
    """Warns if poses are to be estimated and PoseLib is not installed."""
    from astr_cli.evaluate.pose import ESTIMATORS, installed_estimators

    if any(benchmark.kind == "pose" for benchmark in found) and installed_estimators() != ESTIMATORS:
        console.warn("PoseLib is not installed, so its poses, the ones to compare, are missing (pip install poselib)")


def print_tables(done: "Sequence[Evaluation[Any]]") -> None:
    """One table for each type of benchmark in the results."""
    output = _console()
    for kind, (title, columns) in TABLES.items():
        chosen = [evaluation for evaluation in done if evaluation.benchmark.kind == kind]
        if chosen:
            shown = [column for column in columns if output.width >= ROOM or not column.spare]
            output.print(_table(f"{title}; {_pixels_of(chosen[0])}", shown, chosen, output.width >= ROOM))


def print_pairs(evaluation: "Evaluation[Any]") -> None:
    """One JSON object per pair."""
    from astr_cli.evaluate.records import pair_records

    for record in pair_records(evaluation):
        console.json_line(record)


def print_totals(done: "Sequence[Evaluation[Any]]") -> None:
    """One JSON object per row of the tables."""
    from astr_cli.evaluate.records import total_records

    for evaluation in done:
        for record in total_records(evaluation):
            console.json_line(record)


def print_comparisons(compared: "Sequence[Comparison]", as_json: bool) -> None:
    """JSON lines, or a table of AUC with the estimator that counts."""
    if as_json:
        for comparison in compared:
            console.json_line(comparison.record())
        return
    shown: dict[str, Comparison] = {}
    for comparison in compared:
        shown.setdefault(comparison.benchmark, comparison)
    if shown:
        _console().print(_difference_table(list(shown.values())))


def _difference_table(compared: "Sequence[Comparison]") -> Table:
    first = compared[0]
    title = f"{first.first} against {first.second}: AUC in % ± standard error"
    table = _bare_table(title, ("benchmark", "pose by"))
    for heading in ("pairs", "won", "lost", "AUC@", "first", "second", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for comparison in compared:
        head = [comparison.benchmark, estimator(comparison.estimator)]
        head += [str(count) for count in (comparison.pairs, comparison.won, comparison.lost)]
        for change in comparison.auc:
            table.add_row(*head, f"{change.at:g}", percent(change.first), percent(change.second), _difference(change))
            head = [""] * len(head)
        table.add_section()
    return table


def _difference(change: "Change") -> str:
    """With its standard error."""
    error = change.standard_error
    return f"{100 * change.difference:+.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _console() -> Console:
    output = Console(highlight=False)
    return output if output.is_terminal else Console(highlight=False, width=WIDTH)


def _pixels_of(evaluation: "Evaluation[Any]") -> str:
    """The sizes that the figures depend on."""
    threshold = getattr(evaluation.totals[0], "ransac_px", None)
    return f"{evaluation.long_side} px" + ("" if threshold is None else f", poses at {threshold:g} px")


def _table(title: str, columns: Sequence[Column], done: "Sequence[Evaluation[Any]]", seconds: bool) -> Table:
    table = _bare_table(title, ("benchmark", "pairs", "matcher"))
    for column in columns:
        justify: Literal["left", "right"] = "left" if column.write is estimator else "right"
        table.add_column(column.heading, justify=justify, no_wrap=True)
    if seconds:
        table.add_column("s / pair", justify="right", no_wrap=True)
    previous = None
    for evaluation in done:
        benchmark = evaluation.benchmark
        this = (benchmark.root, len(benchmark.pairs))
        if previous is not None and previous != this:
            table.add_section()
        head = ["", ""] if previous == this else [benchmark.name, _pairs(benchmark)]
        head.append(evaluation.matcher)
        previous = this
        for totals in evaluation.totals:
            cells = [column.cell(totals) for column in columns]
            if seconds:
                cells.append("" if evaluation.seconds is None else f"{evaluation.seconds:.3f}")
            table.add_row(*head, *cells)
            head = [""] * len(head)
    return table


def _bare_table(title: str, names: Sequence[str]) -> Table:
    """A table without lines between columns; below ROOM columns, only the columns `names` are wrapped."""
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _pairs(benchmark: "Benchmark[Any]") -> str:
    count = len(benchmark.pairs)
    return f"{count} of {count + benchmark.left_out}" if benchmark.left_out else f"{count}"
