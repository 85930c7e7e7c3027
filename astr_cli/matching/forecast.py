"""`astr plan`: what a matching run will do and cost, from its plan and from the first of its pairs."""

import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astr_cli.matching.events import Event, Listener, PairDone
from astr_cli.matching.identity import expected_bytes
from astr_cli.matching.memory import default_cache_bytes
from astr_cli.matching.options import MatchOptions
from astr_cli.matching.plan import Batch
from astr_cli.matching.prepare import prepare
from astr_cli.matching.run import ignore, match_pairs
from astr_cli.matching.views import View
from astr_cli.model import AstrConfig
from astr_cli.pairs import format_pair


@dataclass(frozen=True)
class Forecast:
    """What a run is expected to do, nothing reused from an earlier one."""

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
    """What the features of all photos take together; with that much room the backbone runs once on each photo."""
    disk_bytes: int
    """Journal and output together."""
    measured_pairs: int
    """Matched to see how long it takes; 0: nothing was measured."""
    seconds_a_pair: float | None
    seconds: float | None
    memory_bytes: int | None
    """In use at most while these were matched: resident on a CPU, reserved on a GPU."""


def forecast(options: MatchOptions, sample: int, listener: Listener = ignore) -> Forecast:
    """Checks everything that a run checks before its start, then matches up to `sample` pairs, keeping nothing.

    Raises AstrError for whatever a run would not start with.
    """
    job = prepare(options, listener)
    config, compute = job.weights.model.config, job.compute
    sizes = {name: view_bytes(view, config, compute.precision) for name, view in job.views.items()}
    cache_bytes = default_cache_bytes(compute.device) if options.memory is None else options.memory
    first = [pair for batch in job.plan for pair in batch.pairs][:sample]
    measured = _measure(options, [(pair.name0, pair.name1) for pair in first])
    names = {name for batch in job.plan for name in batch.names()}
    return Forecast(
        images=len(names),
        pairs=len(job.pairs),
        skipped=len(job.skipped),
        known_focals=sum(job.views[name].intrinsics is not None for name in names),
        weights=job.weights.name,
        device=str(compute.device),
        precision=compute.precision,
        long_side=compute.long_side,
        batch=compute.batch,
        jobs=compute.jobs,
        backbone_runs=count_backbone_runs(job.plan, sizes, cache_bytes),
        cache_bytes=cache_bytes,
        feature_bytes=sum(sizes[name] for name in names),
        disk_bytes=expected_bytes(job, len(job.pairs), measured.matches),
        measured_pairs=measured.pairs,
        seconds_a_pair=measured.seconds,
        seconds=None if measured.seconds is None else measured.seconds * len(job.pairs),
        memory_bytes=measured.memory,
    )


def view_bytes(view: View, config: AstrConfig, precision: str = "fp32") -> int:
    """What the features of a photo take."""
    pixels = view.working[0] * view.working[1]
    numbers = config.channels * (pixels // 1024 + pixels // 64) + config.fine_map * (pixels // 4)
    return numbers * (2 if precision == "bf16" else 4)


def count_backbone_runs(plan: Sequence[Batch], sizes: Mapping[str, int], room: int) -> int:
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


@dataclass(frozen=True)
class _Measured:
    pairs: int = 0
    seconds: float | None = None
    matches: float | None = None
    memory: int | None = None


def _measure(options: MatchOptions, pairs: Sequence[tuple[str, str]]) -> _Measured:
    """Matches these pairs; the clock starts with the first one done, as that one waits for all that is begun once."""
    if not pairs:
        return _Measured()
    times: list[float] = []
    rows: list[int] = []
    memory: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, PairDone):
            times.append(time.monotonic())
            rows.append(event.matches)
            if event.memory_bytes is not None:
                memory.append(event.memory_bytes)

    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pairs.txt"
        listed.write_text("".join(format_pair(*pair) + "\n" for pair in pairs), encoding="utf-8")
        match_pairs(replace(options, pairs=listed, images=options.root, out=Path(folder) / "matches.h5"), listen)
    seconds = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else None
    return _Measured(len(times), seconds, sum(rows) / max(len(rows), 1), max(memory, default=None))
