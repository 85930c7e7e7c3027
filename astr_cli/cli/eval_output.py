"""What `astr eval` prints: a table for each kind of benchmark, or JSON lines."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from astr_cli.cli import console

if TYPE_CHECKING:
    from astr_cli.evaluate.benchmark import Benchmark, Kind
    from astr_cli.evaluate.run import Evaluation

WIDTH = 120  # columns where the output is no terminal: a table that is folded cannot be read by anything


class Column(NamedTuple):
    """A heading and how the figure of that name is written."""

    heading: str
    field: str
    write: Callable[[Any], str]


def percent(value: float | None) -> str:
    """A share of 1."""
    return "-" if value is None else f"{100 * value:.1f}"


def pixels(value: float | None) -> str:
    """Hundredths count."""
    return "-" if value is None else f"{value:.2f}"


def whole(value: float) -> str:
    """A count, or a mean of counts."""
    return f"{value:.0f}"


TABLES: "dict[Kind, tuple[str, tuple[Column, ...]]]" = {
    "pose": (
        "Relative pose: AUC in % at degrees",
        (
            Column("pose by", "estimator", str.upper),
            Column("AUC@5", "auc5", percent),
            Column("AUC@10", "auc10", percent),
            Column("AUC@20", "auc20", percent),
            Column("precision %", "precision", percent),
            Column("matches", "matches", whole),
        ),
    ),
    "homography": (
        "Homography: corner-error AUC in % at pixels of the matched size",
        (
            Column("AUC@3", "auc3", percent),
            Column("AUC@5", "auc5", percent),
            Column("AUC@10", "auc10", percent),
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
    """Says on stderr which benchmark comes next."""
    noun = "pair" if len(benchmark.pairs) + benchmark.left_out == 1 else "pairs"
    print(f"{benchmark.name}: {_pairs(benchmark)} {noun}, {benchmark.kind}", file=sys.stderr, flush=True)


def print_tables(done: "Sequence[Evaluation[Any]]") -> None:
    """One table for each kind that is there."""
    output = Console(highlight=False)
    if not output.is_terminal:
        output = Console(highlight=False, width=WIDTH)
    for kind, (title, columns) in TABLES.items():
        chosen = [evaluation for evaluation in done if evaluation.benchmark.kind == kind]
        if chosen:
            output.print(_table(f"{title}; {chosen[0].long_side} px", columns, chosen))


def print_pairs(evaluation: "Evaluation[Any]") -> None:
    """One JSON object a pair."""
    head = {"event": "pair", "benchmark": evaluation.benchmark.name, "matcher": evaluation.matcher}
    for result in evaluation.results:
        console.json_line(head | result.record())


def print_totals(done: "Sequence[Evaluation[Any]]") -> None:
    """One JSON object a row of the tables."""
    for evaluation in done:
        benchmark = evaluation.benchmark
        head = {
            "event": "total",
            "benchmark": benchmark.name,
            "kind": benchmark.kind,
            "folder": str(benchmark.root),
            "matcher": evaluation.matcher,
            "long_side": evaluation.long_side,
            "pairs": len(benchmark.pairs),
            "left_out": benchmark.left_out,
            "not_in_matches": evaluation.missing,
            "seconds_a_pair": evaluation.seconds,
        }
        for totals in evaluation.totals:
            console.json_line(head | asdict(totals))


def _table(title: str, columns: Sequence[Column], done: "Sequence[Evaluation[Any]]") -> Table:
    table = Table("benchmark", "pairs", "matcher", title=title)
    for column in columns:
        table.add_column(column.heading, justify="left" if column.write is str.upper else "right")
    table.add_column("s / pair", justify="right")
    previous = None
    for evaluation in done:
        benchmark = evaluation.benchmark
        if previous is not None and previous is not benchmark:
            table.add_section()
        seconds = "" if evaluation.seconds is None else f"{evaluation.seconds:.3f}"
        for totals in evaluation.totals:
            cells = [column.write(getattr(totals, column.field)) for column in columns]
            name = "" if previous is benchmark else benchmark.name
            table.add_row(name, "" if previous is benchmark else _pairs(benchmark), evaluation.matcher, *cells, seconds)
            previous = benchmark
    return table


def _pairs(benchmark: "Benchmark[Any]") -> str:
    count = len(benchmark.pairs)
    return f"{count} of {count + benchmark.left_out}" if benchmark.left_out else f"{count}"
