"""`match_in_shards`: a run as shards that somebody else computes side by side, and their merging.

Each shard is an ordinary run with a journal of its own, in a folder beside the output: the same command resumes all.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

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
from astr_cli.options.matching import EVERY_GPU, MatchOptions, is_cameras_path, is_weights_file
from astr_cli.pairs.reading import read_pairs
from astr_cli.store.merging import merge_files

RETRIES = 5  # of a shard whose worker died
LARGEST_BATCH = 8  # pairs, the default on a GPU
NAME = re.compile(r"\d+-of-(\d+)\.h5")


class Told:
    """The progress of the whole, from what the shards tell."""

    def __init__(self, listener: Listener, total: int) -> None:
        self._listener, self._total = listener, total
        self._finished: dict[str, int] = {}
        self._started = False

    def tell(self, shard: str, event: Event) -> None:
        """Passes an event of a shard on, with the counts of all shards."""
        if isinstance(event, Started) and not self._started:
            self._started = True
            self._listener(replace(event, pairs=self._total, reused=0))
        elif isinstance(event, PairDone):
            self._finished[shard] = event.finished
            self._listener(replace(event, finished=sum(self._finished.values()), total=self._total))
        elif isinstance(event, Notice):
            self._listener(event)


Compute = Callable[[list[MatchOptions], Told, StopFlag], list[MatchSummary]]


def match_in_shards(options: MatchOptions, shards: int, listener: Listener, compute: Compute) -> MatchSummary:
    """As `match_pairs`, with the same bytes, in at most so many shards. compute: matches them all.

    Raises AstrError: `out` exists, or options that shards do not have; and what `compute` raises.
    """
    options = _absolute(options)
    if options.out.exists() and not options.overwrite:
        raise AstrError(
            f"{options.out}: exists; match more pairs without --ray and --device {EVERY_GPU}, or start over with "
            "--overwrite"
        )
    folder = options.out.with_name(f"{options.out.name}.shards")
    if options.overwrite:
        _clear(folder)
    total = len(read_pairs(options.pairs).pairs)
    count = _count(folder, max(1, min(shards, total // _most(options))))
    folder.mkdir(exist_ok=True)
    runs = [
        replace(options, shard=f"{number}/{count}", out=folder / f"{number}-of-{count}.h5", overwrite=False)
        for number in range(1, count + 1)
    ]
    with stop_on_signals(lambda name: listener(StopRequested(name)), _stopped(options.out)) as stop:
        summaries = compute(runs, Told(listener, total), stop)
    listener(Writing(options.out, total))
    merge_files(options.out, tuple(run.out for run in runs), overwrite=options.overwrite)
    _clear(folder)
    return _joined(options.out, summaries)


def _most(options: MatchOptions) -> int:
    """Pairs of a batch, at most: a shard of as many pairs is never empty."""
    if options.rotate == "auto":
        return 1
    return options.batch or (1 if options.device == "cpu" else LARGEST_BATCH)


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
    """With paths that workers with other current folders find. Raises AstrError for options that are for one run."""
    if str(options.pairs) == "-":
        raise AstrError("several workers cannot read standard input; write the pairs to a file")
    if options.shard is not None:
        raise AstrError(f"--shard {options.shard}: --ray and --device {EVERY_GPU} make their own shards; leave it out")
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
