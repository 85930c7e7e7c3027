"""The records of `astr eval --json`, and reading the errors of each pair from them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.pose import ESTIMATORS
from astr_cli.evaluate.run import Evaluation
from astr_cli.files import parse_json
from astr_cli.wording import first_line

HOMOGRAPHY = "homography"  # the key of corner errors; the key of pose errors is their estimator
Record = Mapping[str, Any]
Names = tuple[str, str]  # of a pair's photos


@dataclass(frozen=True)
class Scores:
    """One matcher's errors on the pairs of one benchmark."""

    benchmark: str
    matcher: str
    setting: str  # pixel settings that the errors depend on, as text
    # By estimator: pose errors in degrees, or corner errors in pixels, infinite if it failed. None for disparity.
    errors: Mapping[str, Mapping[Names, float]]


def pair_records(evaluation: Evaluation[Any]) -> Iterator[dict[str, object]]:
    """One record per pair."""
    head = {"event": "pair", "benchmark": evaluation.benchmark.name, "matcher": evaluation.matcher}
    for result in evaluation.results:
        yield head | result.record()


def total_records(evaluation: Evaluation[Any]) -> Iterator[dict[str, object]]:
    """One record per row of the table."""
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
        yield head | asdict(totals)


def scores_of(evaluation: Evaluation[Any]) -> Scores:
    """The errors of an evaluation, exactly as `read_scores` would read them from its records."""
    return _collect([*pair_records(evaluation), *total_records(evaluation)])[evaluation.benchmark.name]


def read_scores(path: Path) -> dict[str, Scores]:
    """The errors of the first matcher for each benchmark in a file of JSON lines. Raises EvaluateError."""
    try:
        records = list(_records(path))
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluateError(f"{path}: cannot be read ({first_line(error)})") from None
    try:
        found = _collect(records)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise EvaluateError(f"{path}: broken line ({what}); create the file again with astr eval --json") from None
    if not found:
        raise EvaluateError(f"{path}: contains no pairs; create it with astr eval --json")
    return found


def _records(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                record = parse_json(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise EvaluateError(f"{path}:{number}: not a line of JSON; create the file with astr eval --json")
            yield record


def _collect(records: Iterable[Record]) -> dict[str, Scores]:
    matchers: dict[str, str] = {}
    settings: dict[str, str] = {}
    errors: dict[str, dict[str, dict[Names, float]]] = {}
    for record in records:
        event = record.get("event")
        if event not in ("pair", "total"):
            continue
        benchmark, matcher = str(record["benchmark"]), str(record["matcher"])
        if matchers.setdefault(benchmark, matcher) != matcher:
            continue
        if event == "total":
            settings.setdefault(benchmark, _setting(record))
            continue
        names = (str(record["name0"]), str(record["name1"]))
        by_estimator = errors.setdefault(benchmark, {})
        for estimator, error in _errors(record):
            # A repeated pair belongs to a second matcher of the same name.
            by_estimator.setdefault(estimator, {}).setdefault(names, error)
    return {
        name: Scores(name, matchers[name], settings.get(name, "unknown pixels"), found)
        for name, found in errors.items()
    }


def _setting(record: Record) -> str:
    pixels = f"{int(record['long_side'])} px"
    return f"{pixels}, poses at {float(record['ransac_px']):g} px" if "ransac_px" in record else pixels


def _errors(record: Record) -> Iterator[tuple[str, float]]:
    for estimator in ESTIMATORS:
        if estimator in record:
            yield estimator, max(float(record[estimator][angle]) for angle in ("rotation", "translation"))
    if "corner_error" in record:
        error = record["corner_error"]
        yield HOMOGRAPHY, math.inf if error is None else float(error)
