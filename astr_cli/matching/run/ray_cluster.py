"""`match_on_ray`: the shards of a run as tasks of a Ray cluster, merged by the driver.

Driver and workers share a file system. A shard is an ordinary run with a journal of its own: a worker that dies is
replaced by another one, which resumes the shard, and so does the same command after a stop.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from astr_cli.errors import AstrError
from astr_cli.files import real_path
from astr_cli.matching.resources.signals import StopFlag, stop_on_signals
from astr_cli.matching.run.events import (
    Event,
    Listener,
    MatchSummary,
    Notice,
    PairDone,
    Started,
    StopRequested,
    Writing,
)
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.cluster import ClusterOptions
from astr_cli.options.matching import MatchOptions, is_cameras_path, is_weights_file
from astr_cli.pairs.reading import read_pairs
from astr_cli.store.merging import merge_files
from astr_cli.wording import first_line

RETRIES = 5  # of a shard whose worker died
POLLED = 0.5  # seconds between two looks at the tasks
NAME = re.compile(r"\d+-of-(\d+)\.h5")


def match_on_ray(options: MatchOptions, cluster: ClusterOptions, listener: Listener) -> MatchSummary:
    """As `match_pairs`, with the same bytes. Raises AstrError: no Ray, no cluster, or `out` exists; and as it does."""
    options = _absolute(options)
    if options.out.exists() and not options.overwrite:
        raise AstrError(f"{options.out}: exists; match more pairs without --ray, or start over with --overwrite")
    folder = options.out.with_name(f"{options.out.name}.shards")
    if options.overwrite:
        _clear(folder)
    total = len(read_pairs(options.pairs).pairs)
    count = _count(folder, min(cluster.shards, total))
    folder.mkdir(exist_ok=True)
    runs = [
        replace(options, shard=f"{number}/{count}", out=folder / f"{number}-of-{count}.h5", overwrite=False)
        for number in range(1, count + 1)
    ]
    with (
        stop_on_signals(lambda name: listener(StopRequested(name)), _stopped(options.out)) as stop,
        _connected(str(cluster.ray)) as ray,
    ):
        summaries = _Driver(ray, listener, total, stop).run(runs)
    listener(Writing(options.out, total))
    merge_files(options.out, tuple(run.out for run in runs), overwrite=options.overwrite)
    _clear(folder)
    return _joined(options.out, summaries)


class _Driver:
    """Starts one task per shard and tells the progress of the whole."""

    def __init__(self, ray: Any, listener: Listener, total: int, stop: StopFlag) -> None:
        self._ray, self._listener, self._total, self._stop = ray, listener, total, stop
        self._finished: dict[str, int] = {}
        self._started = False

    def run(self, runs: list[MatchOptions]) -> list[MatchSummary]:
        """Raises what a shard raises, and Interrupted when asked to stop: its shards stop after their batches."""
        gpu = runs[0].device.startswith("cuda") or (runs[0].device == "auto" and "GPU" in self._ray.cluster_resources())
        events = self._ray.remote(num_cpus=0)(_Events).remote()
        task = self._ray.remote(
            num_cpus=runs[0].jobs or 1, num_gpus=1 if gpu else 0, max_retries=RETRIES, retry_exceptions=False
        )(_match_shard)
        waiting = [task.remote(run, events) for run in runs]
        every = list(waiting)
        try:
            while waiting:
                _, waiting = self._ray.wait(waiting, num_returns=len(waiting), timeout=POLLED)
                for name, event in self._ray.get(events.take.remote()):
                    self._tell(name, event)
                self._stop.check()
            return list(self._ray.get(every))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, AstrError) else error from None
        except self._ray.exceptions.WorkerCrashedError:
            raise AstrError(
                f"{runs[0].out.parent}: a worker died {RETRIES + 1} times; run it again to resume"
            ) from None
        finally:
            for each in waiting:
                self._ray.cancel(each)

    def _tell(self, name: str, event: Event) -> None:
        if isinstance(event, Started) and not self._started:
            self._started = True
            self._listener(replace(event, pairs=self._total, reused=0))
        elif isinstance(event, PairDone):
            self._finished[name] = event.finished
            self._listener(replace(event, finished=sum(self._finished.values()), total=self._total))
        elif isinstance(event, Notice):
            self._listener(event)


class _Events:
    """An actor that holds what the shards tell until the driver takes it."""

    def __init__(self) -> None:
        self._held: list[tuple[str, Event]] = []

    def put(self, name: str, event: Event) -> None:
        self._held.append((name, event))

    def take(self) -> list[tuple[str, Event]]:
        held, self._held = self._held, []
        return held


def _match_shard(options: MatchOptions, events: Any) -> MatchSummary:
    return match_pairs(options, lambda event: events.put.remote(str(options.shard), event))


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError:
        raise AstrError("--ray: Ray is not installed; install it with pip install 'astr-cli[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (RuntimeError, ValueError, OSError) as error:
        # Another version of Ray or Python than the cluster's is a RuntimeError that names both.
        raise AstrError(
            f"--ray {address}: {first_line(error)}; start a cluster of this version, see ray start"
        ) from None
    try:
        yield ray
    finally:
        with suppress(RuntimeError):
            ray.shutdown()


def _count(folder: Path, wanted: int) -> int:
    """The number of shards: that of an earlier run, whose shards would be lost otherwise."""
    found = (NAME.match(path.name) for path in sorted(folder.glob("*-of-*")))
    return next((int(match[1]) for match in found if match), wanted)


def _clear(folder: Path) -> None:
    """Removes the shards of an earlier run, and the folder if nothing else is in it."""
    for path in folder.glob("*-of-*"):
        if NAME.fullmatch(path.name):
            path.unlink()
        elif path.is_dir() and not path.is_symlink() and NAME.fullmatch(path.name.removesuffix(".journal")):
            shutil.rmtree(path)
    for path in folder.glob(".*-of-*.astr-hashes"):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _absolute(options: MatchOptions) -> MatchOptions:
    """Workers have other current folders."""
    if str(options.pairs) == "-":
        raise AstrError("--ray: workers cannot read standard input; write the pairs to a file")
    cameras, weights = options.cameras, options.weights
    return replace(
        options,
        out=real_path(options.out).absolute(),
        pairs=options.pairs.absolute(),
        images=options.root.absolute(),
        masks=None if options.masks is None else options.masks.absolute(),
        cameras=str(Path(cameras).absolute()) if is_cameras_path(cameras) else cameras,
        weights=str(Path(weights).absolute()) if is_weights_file(weights) else weights,
    )


def _stopped(out: Path) -> str:
    return f"{out}: stopped; finished pairs are saved: run the same command again to resume"


def _joined(out: Path, summaries: list[MatchSummary]) -> MatchSummary:
    """One summary of all shards."""

    def total(field: Callable[[MatchSummary], int]) -> int:
        return sum(map(field, summaries))

    return MatchSummary(
        out=out,
        pairs=total(lambda each: each.pairs),
        matched=total(lambda each: each.matched),
        reused=total(lambda each: each.reused),
        failed=tuple(pair for each in summaries for pair in each.failed),
        matches=total(lambda each: each.matches),
        images=max(each.images for each in summaries),
        cache_hits=total(lambda each: each.cache_hits),
        cache_misses=total(lambda each: each.cache_misses),
        seconds=max(each.seconds for each in summaries),
        few=tuple(pair for each in summaries for pair in each.few),
        skipped=total(lambda each: each.skipped),
        turned=summaries[0].turned,
        looked_again=total(lambda each: each.looked_again),
    )
