"""The journal: what is done stays done, and only for the same images and options."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.errors import Stopped
from astr_cli.pairs import pair_key
from astr_cli.store import ImageStamp, Journal, JournalMismatch, MatchesFile, PairMatches, RunInfo, StoreError
from astr_cli.store import journal as journal_module
from astr_cli.store.records import decode, encode, scan
from astr_cli.store.writer import pair_group

OPTIONS = (("images", "photos"), ("model", "astr-small"), ("weights_sha256", "ab" * 32), ("threshold", "0.2"))
NAMES = tuple(f"cam/{number:03d}.jpg" for number in range(8))
PAIRS = [(a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]]


def run_of(names: tuple[str, ...] = NAMES, options: tuple[tuple[str, str], ...] = OPTIONS, mtime: int = 1) -> RunInfo:
    return RunInfo(options, tuple(ImageStamp(name, 640, 480, mtime, 1000) for name in names))


def matches_of(seed: int, rows: int | None = None) -> PairMatches:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(0, 300)) if rows is None else rows
    points = generator.random((2, count, 2), np.float32) * 640
    return PairMatches(
        points[0], points[1], generator.random(count, np.float32), generator.integers(0, 2, count).astype(np.uint8)
    )


def same(first: PairMatches, second: PairMatches) -> bool:
    names = ("keypoints0", "keypoints1", "scores", "reference")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def fill(journal: Journal, pairs: list[tuple[str, str]]) -> None:
    for pair in pairs:
        journal.append(*pair, matches_of(PAIRS.index(pair)))


def whole_run(folder: Path, pairs: list[tuple[str, str]] = PAIRS) -> bytes:
    """The bytes of an uninterrupted run's output."""
    folder.mkdir(parents=True, exist_ok=True)
    with Journal.open(folder / "m.h5", run_of()) as journal:
        fill(journal, pairs)
        journal.finish(pairs)
    return (folder / "m.h5").read_bytes()


def segments(output: Path) -> list[Path]:
    return sorted((output.parent / f"{output.name}.journal").glob("*.seg"))


def test_a_finished_run_leaves_the_output_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS)
        assert journal.completed == set(PAIRS)
        assert same(journal.read(*PAIRS[3]), matches_of(3))
        assert not output.exists()
        journal.finish(PAIRS)
    assert list(tmp_path.iterdir()) == [output]
    with MatchesFile(output) as file:
        assert [(pair.name0, pair.name1) for pair in file.pairs()] == PAIRS
        assert same(file.read(*PAIRS[5]), matches_of(5))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, len(PAIRS)), max_size=4), st.integers(200, 20_000))
def test_any_number_of_stops_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("stops")
    expected = whole_run(folder / "whole")
    output = folder / "m.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "SEGMENT_BYTES", segment_bytes)
        for stop in [*sorted(stops), len(PAIRS)]:
            with Journal.open(output, run_of()) as journal:
                assert journal.notes == ()
                done = journal.completed
                fill(journal, [pair for pair in PAIRS[:stop] if pair not in done])
        with Journal.open(output, run_of()) as journal:
            assert journal.completed == set(PAIRS)
            journal.finish(PAIRS)
    assert output.read_bytes() == expected


def test_segments_are_rolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 5000)
    with Journal.open(tmp_path / "m.h5", run_of()) as journal:
        fill(journal, PAIRS)
        assert len(segments(journal.output)) > 3
        assert all(same(journal.read(*pair), matches_of(number)) for number, pair in enumerate(PAIRS))


@pytest.mark.parametrize("cut", [1, 3, 19, 20, 60, 200])
def test_a_torn_tail_is_cut_off(tmp_path: Path, cut: int) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        for pair in PAIRS[:3]:
            journal.append(*pair, matches_of(1, 20))
    (segment,) = segments(output)
    record = segment.stat().st_size // 3
    with segment.open("rb+") as file:
        file.truncate(segment.stat().st_size - record + cut)
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set(PAIRS[:2])
        assert f"{cut} bytes" in journal.notes[0]
        assert segment.stat().st_size == 2 * record
        journal.append(*PAIRS[2], matches_of(1, 20))
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set(PAIRS[:3])
        assert journal.notes == ()


def test_a_tail_of_zeros_after_a_power_cut_is_cut_off(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:3])
    with segments(output)[0].open("ab") as file:
        file.write(bytes(5000))
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set(PAIRS[:3])


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_flipped_byte_costs_its_own_record_or_what_follows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever byte is flipped, no wrong match is ever returned, and the records before it are kept."""
    output = tmp_path_factory.mktemp("flip") / "m.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_module, "SEGMENT_BYTES", 20_000)
        with Journal.open(output, run_of()) as journal:
            fill(journal, PAIRS[:12])
        segment = data.draw(st.sampled_from(segments(output)))
        content = bytearray(segment.read_bytes())
        position = data.draw(st.integers(0, len(content) - 1))
        before = {(r.stamp0.name, r.stamp1.name): r for r in scan(segment).records}
        hit = next(pair for pair, r in before.items() if r.offset <= position < r.offset + r.length)
        content[position] ^= 1 << data.draw(st.integers(0, 7))
        segment.write_bytes(content)
        with Journal.open(output, run_of()) as journal:
            assert hit not in journal.completed
            assert all(pair in journal.completed for pair, r in before.items() if r.offset < before[hit].offset)
            assert len(journal.notes) == 1 and str(segment) in journal.notes[0]
            in_header = position - before[hit].offset < 20
            if not in_header:  # the lengths are right, so the next record is found
                assert len(journal.completed) == 11
            for pair in journal.completed:
                assert same(journal.read(*pair), matches_of(PAIRS.index(pair)))
            fill(journal, [pair for pair in PAIRS[:12] if pair not in journal.completed])
            journal.finish(PAIRS[:12])
    assert output.read_bytes() == whole_run(output.parent / "whole", PAIRS[:12])


def test_damage_while_running_is_noticed(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "m.h5", run_of()) as journal:
        fill(journal, PAIRS[:2])
        with segments(journal.output)[0].open("rb+") as file:
            file.seek(-3, os.SEEK_END)
            file.write(b"xyz")
        with pytest.raises(StoreError, match="damaged at byte"):
            journal.finish(PAIRS[:2])
        assert not (tmp_path / "m.h5").exists()
        assert not (tmp_path / "m.h5.tmp").exists()


def test_other_options_are_refused_with_the_difference(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:3])
    options = (
        ("images", "photos"),
        ("model", "astr"),
        ("weights_sha256", "cd" * 32),
        ("threshold", "0.2"),
        ("new", "1"),
    )
    for _ in range(2):  # of the journal, then of the finished output
        with pytest.raises(JournalMismatch) as caught:
            Journal.open(output, run_of(options=options))
        text = str(caught.value)
        assert "(model: astr-small -> astr; weights_sha256: abababababab -> cdcdcdcdcdcd; new: (not set) -> 1)" in text
        assert "--overwrite" in text and "threshold" not in text and "\n" not in text
        assert caught.value.exit_code == 2
        with Journal.open(output, run_of()) as journal:
            assert len(journal.completed) == 3
            journal.finish(PAIRS[:3])
        assert list(tmp_path.iterdir()) == [output]


def test_overwrite_starts_anew_and_keeps_the_old_output_until_the_end(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    old = whole_run(tmp_path)
    other = run_of(options=(*OPTIONS[:3], ("threshold", "0.5")))
    with Journal.open(output, other, overwrite=True) as journal:
        assert journal.completed == set()
        assert journal.unlisted(PAIRS[:1]) == []
        fill(journal, PAIRS[:2])
    assert output.read_bytes() == old
    with Journal.open(output, other) as journal:  # goes on without --overwrite, whatever the old output is
        assert journal.completed == set(PAIRS[:2])
        journal.finish(PAIRS[:2])
    with MatchesFile(output) as file:
        assert file.attributes["threshold"] == "0.5"
        assert len(file.pairs()) == 2


def test_options_with_which_nothing_was_matched_bind_nobody(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()):
        pass
    assert list(tmp_path.iterdir()) == []
    killed = Journal.open(output, run_of())
    killed._lock.release()  # as a kill does
    with Journal.open(output, run_of(options=(("model", "astr"),))) as journal:
        journal.append(*PAIRS[0], matches_of(0))
    with pytest.raises(JournalMismatch):
        Journal.open(output, run_of())


@pytest.mark.parametrize("finished", [False, True])
def test_pairs_of_a_changed_image_are_done_again(tmp_path: Path, finished: bool) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS)
        if finished:
            journal.finish(PAIRS)
    later = output.stat().st_mtime_ns if finished else 2
    for changed in (("mtime_ns", later), ("width", 641), ("height", 481)):
        stamps = list(run_of().images)
        stamps[2] = stamps[2]._replace(**dict([changed]))
        with Journal.open(output, RunInfo(OPTIONS, tuple(stamps))) as journal:
            assert journal.completed == {pair for pair in PAIRS if NAMES[2] not in pair}
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set(PAIRS)


def test_the_later_record_of_a_pair_counts(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    for mtime in (1, 2):
        with Journal.open(output, run_of(mtime=mtime)) as journal:
            assert journal.completed == set()
            journal.append(*PAIRS[0], matches_of(mtime))
            journal.append(*PAIRS[0], matches_of(mtime + 10))
    for mtime in (1, 2):
        with Journal.open(output, run_of(mtime=mtime)) as journal:
            assert same(journal.read(*PAIRS[0]), matches_of(mtime + 10))


@pytest.mark.parametrize("killed", [False, True])
def test_a_longer_pairs_file_reuses_the_output(tmp_path: Path, killed: bool) -> None:
    output = tmp_path / "m.h5"
    whole_run(tmp_path, PAIRS[:10])
    with Journal.open(output, run_of(NAMES[:3])) as journal:  # fewer images than the output has
        assert journal.completed == {pair for pair in PAIRS[:10] if set(pair) <= set(NAMES[:3])}
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set(PAIRS[:10])
        assert same(journal.read(*PAIRS[4]), matches_of(4))
        fill(journal, PAIRS[10:15])
        if not killed:
            fill(journal, PAIRS[15:])
            journal.finish(PAIRS)
    with Journal.open(output, run_of()) as journal:
        fill(journal, [pair for pair in PAIRS if pair not in journal.completed])
        journal.finish(PAIRS)
    assert output.read_bytes() == whole_run(tmp_path / "whole")
    assert not (tmp_path / "m.h5.journal").exists()


def test_the_order_of_the_two_names_counts(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "m.h5", run_of()) as journal:
        fill(journal, PAIRS[:1])
        assert PAIRS[0][::-1] not in journal.completed
        with pytest.raises(KeyError):
            journal.read(*PAIRS[0][::-1])


def test_unlisted_are_the_pairs_that_finish_would_lose(tmp_path: Path) -> None:
    whole_run(tmp_path, PAIRS[:3])
    with Journal.open(tmp_path / "m.h5", run_of()) as journal:
        fill(journal, PAIRS[3:5])
    with Journal.open(tmp_path / "m.h5", run_of(NAMES[:2])) as journal:  # even where the images are not listed
        assert journal.unlisted([PAIRS[1][::-1], PAIRS[3]]) == [PAIRS[0], PAIRS[2], PAIRS[4]]


def test_a_kill_between_rename_and_removal_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS)
        monkeypatch.setattr(journal, "remove", lambda: None)
        journal.finish(PAIRS)
    expected = output.read_bytes()
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set(PAIRS)
        journal.finish(PAIRS)
    assert (output.read_bytes(), list(tmp_path.iterdir())) == (expected, [output])


def test_segments_without_run_json_are_the_rest_of_a_removal(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS)
    (tmp_path / "m.h5.journal" / "run.json").unlink()
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set()
        assert segments(output) == []


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    code = (
        "import sys; from pathlib import Path; from astr_cli.store import *\n"
        f"run = RunInfo({OPTIONS!r}, ())\n"
        "try: Journal.open(Path(sys.argv[1]), run, overwrite=len(sys.argv) > 2)\n"
        "except StoreError as error: print(error); sys.exit(error.exit_code)"
    )
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:2])
        for extra in ([], ["overwrite"]):
            done = subprocess.run([sys.executable, "-c", code, str(output), *extra], capture_output=True, text=True)
            assert done.returncode == 2, done.stderr
            assert done.stdout == (
                f"{output}: another run (process {os.getpid()}) is writing it; wait for it, or choose another --out\n"
            )
        fill(journal, PAIRS[2:])
        journal.finish(PAIRS)
    assert list(tmp_path.iterdir()) == [output]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        Journal.open(tmp_path / "gone" / "m.h5", run_of())
    with pytest.raises(StoreError, match="is a folder"):
        Journal.open(tmp_path, run_of())
    (tmp_path / "m.h5.journal").write_text("somebody's")
    with pytest.raises(StoreError, match="cannot be written"):
        Journal.open(tmp_path / "m.h5", run_of())


def test_an_output_that_is_not_ours_is_not_touched(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    output.write_bytes(b"a thesis")
    with pytest.raises(
        StoreError, match=r"not a whole HDF5 file.*; choose another --out, or replace it with --overwrite"
    ):
        Journal.open(output, run_of())
    assert (output.read_bytes(), list(tmp_path.iterdir())) == (b"a thesis", [output])


def test_damaged_run_json_and_other_formats(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:1])
    saved = tmp_path / "m.h5.journal" / "run.json"
    content = saved.read_text()
    for text, message in ((content[:50], "damaged"), (content.replace('"1"', '"0"', 1), "journal format 0")):
        saved.write_text(text)
        with pytest.raises(StoreError, match=rf"{message}.*--overwrite"):
            Journal.open(output, run_of())


def test_arrays_that_no_file_may_hold(tmp_path: Path) -> None:
    good = matches_of(1, 5)
    wrong = (
        (good.keypoints0.astype(np.float64), good.scores, "float64"),
        (good.keypoints0[:4], good.scores, "shape"),
        (good.keypoints0 * np.float32(np.nan), good.scores, "not finite"),
        (good.keypoints0, good.scores[:, None], "shape"),
    )
    with Journal.open(tmp_path / "m.h5", run_of()) as journal:
        for keypoints0, scores, message in wrong:
            with pytest.raises(ValueError, match=message):
                journal.append(*PAIRS[0], PairMatches(keypoints0, good.keypoints1, scores, good.reference))
        assert journal.completed == set()


@pytest.mark.parametrize("written", [0, 7, 100])
def test_a_full_disk_stops_resumably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """The disk fills up before a record or half way through it; what was whole stays and goes on when there is room."""
    output = tmp_path / "m.h5"
    real = os.write

    def full(handle: int, data: bytes) -> int:
        if written == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data[:written])

    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:2])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(
                Stopped, match="the disk is full; free some space and run the same command again"
            ) as caught:
                fill(journal, PAIRS[2:3])
        assert caught.value.exit_code == 4
        fill(journal, PAIRS[3:4])
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == {*PAIRS[:2], PAIRS[3]}
        assert journal.notes == ()
        assert same(journal.read(*PAIRS[3]), matches_of(3))


def test_a_disk_that_is_full_at_the_start_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Stopped, match="the disk is full"):
        Journal.open(tmp_path / "m.h5", run_of())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_just_after_a_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "m.h5"
    real = os.write

    def interrupted(handle: int, data: bytes) -> int:
        real(handle, data)
        raise KeyboardInterrupt

    with Journal.open(output, run_of()) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fill(journal, PAIRS[:1])
        fill(journal, PAIRS[1:2])
        assert same(journal.read(*PAIRS[1]), matches_of(1))
    with Journal.open(output, run_of()) as journal:
        assert journal.completed == set(PAIRS[:2])


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)
STAMPS = st.builds(ImageStamp, TEXT, *[st.integers(1, 2**62)] * 4)


@given(STAMPS, STAMPS, st.integers(0, 40), st.integers(0, 99))
def test_records_are_read_back(stamp0: ImageStamp, stamp1: ImageStamp, rows: int, seed: int) -> None:
    record = encode(stamp0, stamp1, matches_of(seed, rows))
    found = decode(record)
    assert found is not None
    assert found[:2] == (stamp0, stamp1)
    assert same(found[2], matches_of(seed, rows))
    assert decode(record[:-1]) is None
    assert decode(record + b"\0") is None


@given(TEXT, TEXT)
def test_store_and_pairs_agree_on_the_key(name0: str, name1: str) -> None:
    assert pair_group(name0, name1) == pair_key(name0, name1)
