"""Stopped in every way there is, then the same command: the bytes of an undisturbed run, and nothing matched twice."""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from astr_cli.errors import Interrupted, Stopped
from astr_cli.matching.run.events import Event, Notice, PairDone, PairFailed, StopRequested, Writing
from astr_cli.matching.run.match import match_pairs
from astr_cli.matching.run.model_runner import Runner

OUT_OF_MEMORY = "[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory"


class Killed(BaseException):
    """Ends a run in the middle of a batch, as a kill does."""


def after(count: int, act: Callable[[], None]) -> Callable[[Event], None]:
    """A listener's action: `act` once the run has finished `count` pairs."""

    def listen(event: Event) -> None:
        if isinstance(event, PairDone) and event.finished == count:
            act()

    return listen


def kill() -> None:
    raise Killed


@pytest.fixture
def whole(scene) -> bytes:
    """What an undisturbed run writes."""
    match_pairs(scene.options("whole.h5"))
    return scene.bytes("whole.h5")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_after_the_pair_in_work(scene, whole: bytes, recorder, number: signal.Signals) -> None:
    heard = recorder(after(4, lambda: signal.raise_signal(number)))
    with pytest.raises(Interrupted, match="4 of 15 pairs are saved: run the same command again to resume"):
        match_pairs(scene.options(), heard)
    assert [event.signal for event in heard.of(StopRequested)] == [number.name]
    assert not (scene.root / "m.h5").exists()
    summary = match_pairs(scene.options())
    assert (summary.matched, summary.reused) == (11, 4)
    assert scene.bytes() == whole
    assert not scene.journal().exists()


def test_signal_after_the_last_pair_lets_the_run_finish(scene, whole: bytes, recorder) -> None:
    match_pairs(scene.options(), recorder(after(15, lambda: signal.raise_signal(signal.SIGINT))))
    assert scene.bytes() == whole


def test_stopped_overwrite_goes_on_without_overwrite(scene, recorder) -> None:
    match_pairs(scene.options(max_matches=3))
    stop = recorder(after(4, lambda: signal.raise_signal(signal.SIGINT)))
    with pytest.raises(Interrupted, match="without --overwrite"):
        match_pairs(scene.options(overwrite=True), stop)
    summary = match_pairs(scene.options())
    assert (summary.matched, summary.reused) == (11, 4)
    match_pairs(scene.options("whole.h5"))
    assert scene.bytes() == scene.bytes("whole.h5")


@pytest.mark.parametrize("count", random.Random(7).sample(range(1, 15), 4))
def test_killed_in_a_batch_equals_an_undisturbed_run(scene, recorder, count: int) -> None:
    match_pairs(scene.options("whole.h5", batch=4))
    with pytest.raises(Killed):
        match_pairs(scene.options(batch=4), recorder(after(count, kill)))
    summary = match_pairs(scene.options(batch=4))
    assert (summary.matched, summary.reused) == (15 - count, count)
    assert scene.bytes() == scene.bytes("whole.h5")


def test_torn_last_record_is_matched_again(scene, whole: bytes, recorder) -> None:
    with pytest.raises(Killed):
        match_pairs(scene.options(), recorder(after(5, kill)))
    os.truncate(scene.segment(), scene.segment().stat().st_size - 7)
    summary = match_pairs(scene.options())
    assert (summary.matched, summary.reused) == (11, 4)
    assert scene.bytes() == whole


def test_damaged_record_is_told_and_matched_again(scene, whole: bytes, recorder) -> None:
    with pytest.raises(Killed):
        match_pairs(scene.options(), recorder(after(5, kill)))
    content = bytearray(scene.segment().read_bytes())
    content[len(content) // 2] ^= 1
    scene.segment().write_bytes(content)
    heard = recorder()
    summary = match_pairs(scene.options(), heard)
    assert 0 < summary.reused < 5
    assert "damaged" in heard.of(Notice)[0].text
    assert scene.bytes() == whole


def test_photo_that_vanishes_fails_its_pairs_only(scene, whole: bytes, recorder) -> None:
    last = scene.root / scene.names[-1]
    kept = scene.root / "kept"
    shutil.copy2(last, kept)
    heard = recorder(after(1, last.unlink))
    summary = match_pairs(scene.options(workers=1), heard)
    assert (summary.pairs, summary.matched) == (10, 10)
    assert {(pair.name0, pair.name1) for pair in summary.failed} == {p for p in scene.pairs if scene.names[-1] in p}
    assert all(scene.names[-1] in pair.reason for pair in summary.failed)
    assert len(heard.of(PairFailed)) == 5
    shutil.move(kept, last)
    summary = match_pairs(scene.options())
    assert (summary.matched, summary.reused, summary.failed) == (5, 10, ())
    assert scene.bytes() == whole


def test_failed_pairs_change_no_byte_of_their_batch(scene, recorder) -> None:
    match_pairs(scene.options("whole.h5", batch=4))
    last = scene.root / scene.names[-1]
    shutil.copy2(last, scene.root / "kept")
    summary = match_pairs(scene.options(batch=4, workers=1, jobs=1), recorder(after(1, last.unlink)))
    assert summary.failed
    shutil.move(scene.root / "kept", last)
    match_pairs(scene.options(batch=4))
    assert scene.bytes() == scene.bytes("whole.h5")


def test_photo_that_breaks_on_the_way_is_not_half_matched(scene, recorder) -> None:
    last = scene.root / scene.names[-1]
    content = last.read_bytes()
    summary = match_pairs(scene.options(workers=1), recorder(after(1, lambda: last.write_bytes(content[:900]))))
    assert (summary.pairs, len(summary.failed)) == (10, 5)


def test_photo_written_to_after_it_was_matched_fails_its_pairs(scene, recorder) -> None:
    first = scene.root / scene.names[0]
    summary = match_pairs(scene.options(), recorder(after(14, lambda: os.utime(first, ns=(1, 1)))))
    assert (summary.pairs, len(summary.failed)) == (10, 5)
    assert "changed" in summary.failed[0].reason
    assert match_pairs(scene.options()).reused == 10


def test_photo_deleted_after_it_was_matched_is_no_loss(scene, whole: bytes, recorder) -> None:
    first = scene.root / scene.names[0]
    assert match_pairs(scene.options(), recorder(after(15, first.unlink))).failed == ()
    assert scene.bytes() == whole


def test_out_of_memory_halves_the_batch_and_says_so(scene, recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = Runner.match

    def greedy(self: Runner, batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise RuntimeError(OUT_OF_MEMORY)
        return real(self, batch)

    monkeypatch.setattr(Runner, "match", greedy)
    heard = recorder()
    assert match_pairs(scene.options(batch=8, jobs=1), heard).pairs == 15
    assert sizes[:4] == [8, 4, 2, 2]
    assert max(sizes[3:]) == 2
    assert [text.text.split("--batch to ")[1].split(";")[0] for text in heard.of(Notice)] == ["4", "2"]


def test_out_of_memory_beside_another_batch_ends_that_first(
    scene, whole: bytes, recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever runs out while two are in work is computed again alone, and no byte changes."""
    working, most, alone = 0, 0, threading.Lock()
    real = Runner.match

    def crowded(self: Runner, batch: Any) -> Any:
        nonlocal working, most
        with alone:
            working += 1
            most = max(most, working)
        try:
            time.sleep(0.01)
            if working > 1:
                raise RuntimeError(OUT_OF_MEMORY)
            return real(self, batch)
        finally:
            with alone:
                working -= 1

    monkeypatch.setattr(Runner, "match", crowded)
    heard = recorder()
    assert match_pairs(scene.options(jobs=3), heard).failed == ()
    assert most > 1
    assert [text.text for text in heard.of(Notice)] == [
        "out of memory: astr emptied the feature cache and now computes one batch at a time"
    ]
    assert scene.bytes() == whole


def test_out_of_memory_for_one_pair_stops_resumably(scene, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Runner.match, []

    def failing(self: Runner, batch: Any) -> Any:
        calls.append(batch)
        if len(calls) > 3:
            raise RuntimeError(OUT_OF_MEMORY)
        return real(self, batch)

    monkeypatch.setattr(Runner, "match", failing)
    with pytest.raises(Stopped, match=r"out of memory.*--long-side 96.*same command"):
        match_pairs(scene.options())
    monkeypatch.setattr(Runner, "match", real)
    assert match_pairs(scene.options()).reused == 3
    assert scene.bytes() == whole


def test_other_runtime_errors_are_bugs_and_not_swallowed(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Runner, batch: Any) -> Any:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Runner, "match", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        match_pairs(scene.options())


def test_killed_before_the_output_is_written(scene, whole: bytes, recorder) -> None:
    def act(event: Event) -> None:
        if isinstance(event, Writing):
            raise Killed

    with pytest.raises(Killed):
        match_pairs(scene.options(), recorder(act))
    summary = match_pairs(scene.options())
    assert (summary.matched, summary.reused) == (0, 15)
    assert scene.bytes() == whole
