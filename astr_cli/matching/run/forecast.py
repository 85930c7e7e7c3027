"""`astr plan`: the work, time and memory of a matching run, from its plan and from its first pairs."""

import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.resources.memory import default_cache_bytes
from astr_cli.matching.resume import expected_bytes
from astr_cli.matching.run.events import Event, Listener, PairDone, Started
from astr_cli.matching.run.match import ignore, match_and_discard
from astr_cli.matching.run.plan import PairBatch
from astr_cli.matching.run.prepare import prepare
from astr_cli.model.config import AstrConfig
from astr_cli.model.early import FEWEST_CELLS, small_side
from astr_cli.options.matching import MatchOptions
from astr_cli.pairs.reading import format_pair


@dataclass(frozen=True)
class Forecast:
    """The expected work and cost of a run that reuses nothing from an earlier one."""

    images: int
    pairs: int
    skipped: int
    """Pairs that `--skip-bad` leaves out."""
    known_focals: int
    weights: str
    device: str
    precision: str
    long_side: int
    batch: int
    jobs: int
    backbone_runs: int
    """Runs on whole photos that `cache_bytes` of room for features make necessary."""
    cache_bytes: int
    feature_bytes: int
    """Bytes of the features of all photos; with that much room the backbone runs once per photo."""
    disk_bytes: int
    """Journal and output together."""
    measured_pairs: int
    """Pairs matched as a timing sample; 0: nothing was measured."""
    seconds_a_pair: float | None
    seconds: float | None
    memory_bytes: int | None
    """Peak memory while these were matched: resident on a CPU, reserved on a GPU."""


def forecast(options: MatchOptions, sample: int, listener: Listener = ignore) -> Forecast:
    """Checks everything that a run checks before its start, then matches `sample` pairs and discards the matches.

    `sample` is rounded up as `sampled` says; `listener` gets the events of these pairs too. Raises AstrError whenever a
    run would not start; Interrupted and Stopped when a signal, a full disk or full memory ends the matching.
    """
    prepared = prepare(options, listener)
    config, compute = prepared.weights.model.config, prepared.compute
    sizes = {
        name: view_bytes(view, config, compute.precision, options.adaptive) for name, view in prepared.views.items()
    }
    cache_bytes = default_cache_bytes(compute.device) if options.memory is None else options.memory
    measured = _measure(options, sampled(prepared.plan, sample, compute.jobs), listener)
    names = {name for batch in prepared.plan for name in batch.names()}
    return Forecast(
        images=len(names),
        pairs=len(prepared.pairs),
        skipped=len(prepared.skipped),
        known_focals=sum(prepared.views[name].intrinsics is not None for name in names),
        weights=prepared.weights.name,
        device=str(compute.device),
        precision=compute.precision,
        long_side=compute.long_side,
        batch=compute.batch,
        jobs=compute.jobs,
        backbone_runs=count_backbone_runs(prepared.plan, sizes, cache_bytes),
        cache_bytes=cache_bytes,
        feature_bytes=sum(sizes[name] for name in names),
        disk_bytes=expected_bytes(prepared, len(prepared.pairs), measured.matches),
        measured_pairs=measured.pairs,
        seconds_a_pair=measured.seconds,
        seconds=None if measured.seconds is None else measured.seconds * len(prepared.pairs),
        memory_bytes=measured.memory,
    )


def view_bytes(view: PhotoGeometry, config: AstrConfig, precision: str = "fp32", adaptive: bool = False) -> int:
    """Bytes of the features of a photo, and with `adaptive` also those of its small copy."""
    sizes = [view.matched]
    if adaptive and view.matched[0] * view.matched[1] >= 64 * FEWEST_CELLS:
        sizes.append((small_side(view.matched[0]), small_side(view.matched[1])))
    numbers = 0
    for width, height in sizes:
        pixels = width * height
        numbers += config.channels * (pixels // 1024 + pixels // 64) + config.fine_map * (pixels // 4)
    return numbers * (2 if precision == "bf16" else 4)


def count_backbone_runs(plan: Sequence[PairBatch], sizes: Mapping[str, int], room: int) -> int:
    """How often the feature cache will miss."""
    held: OrderedDict[str, int] = OrderedDict()
    used = runs = 0
    for batch in plan:
        missing = [name for name in batch.names() if name not in held]
        for name in batch.names():
            if name in held:
                held.move_to_end(name)
        runs += len(missing)
        for name in missing:
            if sizes[name] > room:
                continue
            held[name] = sizes[name]
            used += sizes[name]
            while used > room:
                used -= held.popitem(last=False)[1]
    return runs


def sampled(plan: Sequence[PairBatch], pairs: int, jobs: int) -> Sequence[PairBatch]:
    """The first batches of a plan, as a timing sample: at least `pairs` pairs, and equally many, two or more, per job.

    The pairs of a batch finish at the same instant, and parallel batches nearly so: a part of
    them has no time of its own. In the second round all jobs are busy, as in a long run.
    """
    count = held = 0
    while count < len(plan) and held < pairs:
        held += len(plan[count].pairs)
        count += 1
    return plan[: jobs * max(2, -(-count // jobs))] if pairs > 0 else []


@dataclass(frozen=True)
class _Measured:
    pairs: int = 0
    seconds: float | None = None
    matches: float | None = None
    memory: int | None = None


def _measure(options: MatchOptions, batches: Sequence[PairBatch], listener: Listener) -> _Measured:
    """Matches these batches; the first one twice, as its first time includes everything that starts only once."""
    if not batches:
        return _Measured()
    _match_once(options, batches[:1], listener)
    started, done = _match_once(options, batches, listener)
    if not done:
        return _Measured()
    seconds = (done[-1][0] - started) / len(done)
    memory = [event.memory_bytes for _, event in done if event.memory_bytes is not None]
    rows = sum(event.matches for _, event in done)
    return _Measured(len(done), seconds, rows / len(done), max(memory, default=None))


def _match_once(
    options: MatchOptions, batches: Sequence[PairBatch], listener: Listener
) -> tuple[float, list[tuple[float, PairDone]]]:
    """The times in seconds at which weights were loaded, and at which each pair was done."""
    begin = [0.0]
    done: list[tuple[float, PairDone]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            begin.append(time.monotonic())
        elif isinstance(event, PairDone):
            done.append((time.monotonic(), event))
        listener(event)

    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pairs.txt"
        lines = (format_pair(pair.name0, pair.name1) + "\n" for batch in batches for pair in batch.pairs)
        listed.write_text("".join(lines), encoding="utf-8")
        scratch = replace(options, pairs=listed, images=options.root, out=Path(folder) / "matches.h5")
        match_and_discard(scratch, listen, "the timing sample")
    return begin[-1], done
