"""`match_pairs`: the whole of `astr match`, from options to a finished matches.h5, resumable at any instant."""

import shutil
import time
from collections.abc import Container, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

from astr_cli.errors import AstrError, Interrupted, Stopped
from astr_cli.files import real_path
from astr_cli.matching.photos.loader import Loader, changed
from astr_cli.matching.resources.compute import match_settings
from astr_cli.matching.resources.cores import CoreSplit, JobPool, fitting
from astr_cli.matching.resources.memory import default_cache_bytes, used_bytes
from astr_cli.matching.resources.signals import StopFlag, stop_on_signals
from astr_cli.matching.resources.stopwatch import Stopwatch
from astr_cli.matching.resume import Names, earlier_output, expected_bytes, find_losses, is_finished, names_of, run_info
from astr_cli.matching.run.engine import Engine
from astr_cli.matching.run.events import (
    FEW,
    Event,
    FailedPair,
    FewMatches,
    Listener,
    MatchSummary,
    Notice,
    PairDone,
    PairFailed,
    Started,
    StopRequested,
    Writing,
)
from astr_cli.matching.run.feature_cache import FeatureCache
from astr_cli.matching.run.model_runner import Runner
from astr_cli.matching.run.plan import unfinished
from astr_cli.matching.run.prepare import PreparedRun, prepare
from astr_cli.matching.run.refinement import MatchRefiner
from astr_cli.matching.run.shards import only_shard
from astr_cli.options.matching import MatchOptions
from astr_cli.store.hashes import HashBook
from astr_cli.store.journal import Journal
from astr_cli.store.matches_file import MatchesFile


def ignore(event: Event) -> None:
    """The listener of callers that want none."""


def match_pairs(options: MatchOptions, listener: Listener = ignore, stopwatch: Stopwatch | None = None) -> MatchSummary:
    """Matches the pairs of a file as `MatchOptions` says, into matches.h5 (docs/design.md, matches.h5 and Journal).

    `stopwatch`, made for the same device as the options name, measures the time per stage.

    Pairs that an earlier run matched with the same options are kept. Raises AstrError: nothing was started;
    Stopped: disk or memory are full; Interrupted: SIGINT or SIGTERM. After the last two the same call resumes. Pairs
    whose photos become unreadable are in the summary's `failed`, and the others are written.
    """
    started = time.monotonic()
    options = replace(options, out=real_path(options.out))
    with stop_on_signals(lambda name: listener(StopRequested(name))) as stop:
        prepared = only_shard(prepare(options, listener))
        for pair in prepared.skipped:
            listener(PairFailed(pair.name0, pair.name1, pair.reason))
        hashes = HashBook.beside(options.out)
        info = run_info(prepared, hashes)
        earlier = earlier_output(options)
        if earlier is not None and is_finished(prepared, info, earlier):
            hashes.save()
            return _summary(prepared, Progress(reused=len(prepared.pairs)), started)
        with Journal.open(options.out, info, options.overwrite, earlier) as journal:
            hashes.save()
            for note in journal.notes:
                listener(Notice(note))
            progress = _match_all(prepared, journal, listener, stop, stopwatch)
            failed = {(pair.name0, pair.name1) for pair in progress.failed}
            complete = [names for pair in prepared.pairs if (names := names_of(pair)) not in failed]
            listener(Writing(options.out, len(complete)))
            with _timing(stopwatch, "write"):
                journal.finish(complete)
    return _summary(prepared, progress, started)


def match_and_discard(options: MatchOptions, listener: Listener, what: str) -> MatchSummary:
    """`match_pairs` into a folder that the caller deletes: no message promises that the run can be resumed.

    `what` names the run. Raises as `match_pairs` does, and Interrupted also for a signal in the last batch: it
    must stop the caller, too.
    """
    interrupted = Interrupted(f"{what}: stopped; its matches are discarded")
    signals: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, StopRequested):
            signals.append(event.signal)
        listener(event)

    try:
        summary = match_pairs(options, listen)
    except Interrupted:
        raise interrupted from None
    except Stopped as error:
        problem, _, _ = str(error).partition("; ")  # without its advice
        raise Stopped(f"{problem}; the matches of {what} are discarded") from None
    if signals:
        raise interrupted
    return summary


@dataclass
class Progress:
    """The work that a run has done so far."""

    reused: int = 0
    matched: int = 0
    matches: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    fewest_misses: int = 0
    looked_again: int = 0
    failed: list[FailedPair] = field(default_factory=list)


def _match_all(
    prepared: PreparedRun, journal: Journal, listener: Listener, stop: StopFlag, stopwatch: Stopwatch | None
) -> Progress:
    """Matches the pairs that are not in the journal, and adds them to it."""
    done = journal.completed()
    lost = find_losses(prepared, journal.unlisted(names_of(pair) for pair in prepared.pairs))
    if lost:
        listener(Notice(f"{prepared.options.out}: pairs that the pairs file no longer lists: {len(lost)} dropped"))
    progress = Progress(
        reused=sum(names_of(pair) in done for pair in prepared.pairs),
        fewest_misses=len({name for batch in unfinished(prepared.plan, done) for name in batch.names()}),
    )
    _check_disk(prepared, journal, len(prepared.pairs) - progress.reused)
    compute = prepared.compute
    runner = Runner(
        prepared.weights.model, compute.device, compute.precision, match_settings(prepared.options), compute.threads
    )
    if stopwatch is not None:
        stopwatch.watch(prepared.weights.model)
    memory = prepared.options.memory
    cache = FeatureCache(default_cache_bytes(compute.device) if memory is None else memory)
    listener(_started(prepared, progress.reused, cache.capacity))
    with (
        closing(
            Loader(
                prepared.infos,
                prepared.views,
                prepared.options.workers,
                prepared.masks,
                partial(_timing, stopwatch, "decode"),
            )
        ) as loader,
        closing(JobPool(_split(prepared))) as jobs,
    ):
        engine = Engine(prepared, done, runner, cache, loader, jobs, listener, _refiner(prepared, stopwatch))
        _stop_if_asked(prepared, progress, stop)
        for results in engine.run():
            progress.cache_hits, progress.cache_misses = cache.hits, cache.misses
            progress.looked_again = engine.looked_again
            for pair, matches in results:
                with _timing(stopwatch, "write"):
                    journal.append(pair.name0, pair.name1, matches)
                progress.matched += 1
                progress.matches += len(matches)
                finished = progress.reused + progress.matched + len(engine.failed)
                listener(_pair_done(prepared, names_of(pair), len(matches), finished, progress))
            _stop_if_asked(prepared, progress, stop)
    progress.failed = engine.failed + _changed_meanwhile(prepared, engine.failed, listener)
    return progress


def _refiner(prepared: PreparedRun, stopwatch: Stopwatch | None) -> MatchRefiner | None:
    if not prepared.options.refine_matches:
        return None
    return MatchRefiner(prepared.options.tiles, timed=partial(_timing, stopwatch, "refine"))


def _split(prepared: PreparedRun) -> CoreSplit:
    """The jobs that the largest photos leave room for."""
    largest = max(view.matched[0] * view.matched[1] for view in prepared.views.values())
    return fitting(
        CoreSplit(prepared.compute.jobs, prepared.compute.threads), largest, prepared.weights.model.config.stem
    )


def _timing(stopwatch: Stopwatch | None, stage: str) -> AbstractContextManager[None]:
    return nullcontext() if stopwatch is None else stopwatch.time(stage)


def _stop_if_asked(prepared: PreparedRun, progress: Progress, stop: StopFlag) -> None:
    finished = progress.reused + progress.matched
    if stop.requested and finished < len(prepared.pairs):
        command = "the same command without --overwrite" if prepared.options.overwrite else "the same command"
        raise Interrupted(
            f"{prepared.options.out}: stopped; {finished} of {len(prepared.pairs)} pairs are saved: "
            f"run {command} again to resume"
        )


def _changed_meanwhile(prepared: PreparedRun, failed: Sequence[FailedPair], listener: Listener) -> list[FailedPair]:
    """The pairs of photos that were written to after they had been listed: their matches may be of either version."""
    altered = {name for name, info in prepared.infos.items() if info.path.exists() and changed(info)}
    known = {(pair.name0, pair.name1) for pair in failed}
    found = []
    for pair in prepared.pairs:
        name = next((name for name in names_of(pair) if name in altered), None)
        if name is not None and names_of(pair) not in known:
            found.append(FailedPair(pair.name0, pair.name1, f"{name}: changed during the run; run astr match again"))
            listener(PairFailed(pair.name0, pair.name1, found[-1].reason))
    return found


def _check_disk(prepared: PreparedRun, journal: Journal, left: int) -> None:
    """Refuses to start on a disk that is obviously too small."""
    expected = expected_bytes(prepared, left)
    free = shutil.disk_usage(prepared.options.out.parent).free
    if free < expected // 10:  # pairs that are not easy take that little
        if not journal.completed():
            journal.remove()
        raise AstrError(
            f"{prepared.options.out}: needs about {expected / 1e6:.0f} MB, but only {free / 1e6:.0f} MB are free; "
            "free some space, choose another disk with --out, or limit --max-matches"
        )


def _started(prepared: PreparedRun, reused: int, cache_bytes: int) -> Started:
    names = {
        name for pair in prepared.pairs for name in names_of(pair)
    }  # without those of pairs that --skip-bad leaves out
    return Started(
        images=len(names),
        pairs=len(prepared.pairs),
        reused=reused,
        known_focals=sum(prepared.views[name].intrinsics is not None for name in names),
        disk_bytes=expected_bytes(prepared, len(prepared.pairs) - reused),
        cache_bytes=cache_bytes,
        weights=prepared.weights.name,
        device=str(prepared.compute.device),
        precision=prepared.compute.precision,
        long_side=prepared.compute.long_side,
        batch=prepared.compute.batch,
        masked=None if prepared.masks is None else sum(name in prepared.masks for name in names),
    )


def _pair_done(prepared: PreparedRun, names: Names, matches: int, finished: int, progress: Progress) -> PairDone:
    return PairDone(
        name0=names[0],
        name1=names[1],
        matches=matches,
        finished=finished,
        total=len(prepared.pairs),
        cache_hits=progress.cache_hits,
        cache_misses=progress.cache_misses,
        memory_bytes=used_bytes(prepared.compute.device),
    )


def _summary(prepared: PreparedRun, progress: Progress, started: float) -> MatchSummary:
    failed = prepared.skipped + tuple(progress.failed)
    return MatchSummary(
        out=prepared.options.out,
        pairs=len(prepared.pairs) - len(progress.failed),
        matched=progress.matched,
        reused=progress.reused,
        failed=failed,
        matches=progress.matches,
        images=len({name for pair in prepared.pairs for name in names_of(pair)}),
        cache_hits=progress.cache_hits,
        cache_misses=progress.cache_misses,
        seconds=time.monotonic() - started,
        fewest_misses=progress.fewest_misses,
        few=_few_matches(prepared, {(pair.name0, pair.name1) for pair in failed}),
        skipped=len(prepared.skipped),
        turned=prepared.options.rotate == "auto",
        looked_again=progress.looked_again,
    )


def _few_matches(prepared: PreparedRun, failed: Container[Names]) -> tuple[FewMatches, ...]:
    """Also of pairs that an earlier run matched: hence from the file."""
    with MatchesFile(prepared.options.out) as file:
        counts = ((*names, file.count(*names)) for pair in prepared.pairs if (names := names_of(pair)) not in failed)
        return tuple(FewMatches(*each) for each in counts if each[2] < FEW)
