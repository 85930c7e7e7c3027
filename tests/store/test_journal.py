"""The journal: what is done stays done, and only for the same images and options."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.store import journal as journal_module
from astr_cli.store.errors import JournalMismatch, StoreError
from astr_cli.store.journal import Journal
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.records import scan
from astr_cli.store.run_info import RunInfo

from .journal_helpers import NAMES, OPTIONS, PAIRS, fill, matches_of, run_of, same, segments, whole_run


def test_a_finished_run_leaves_the_output_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS)
        assert journal.completed() == set(PAIRS)
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
                done = journal.completed()
                fill(journal, [pair for pair in PAIRS[:stop] if pair not in done])
        with Journal.open(output, run_of()) as journal:
            assert journal.completed() == set(PAIRS)
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
        assert journal.completed() == set(PAIRS[:2])
        assert f"{cut} bytes" in journal.notes[0]
        assert segment.stat().st_size == 2 * record
        journal.append(*PAIRS[2], matches_of(1, 20))
    with Journal.open(output, run_of()) as journal:
        assert journal.completed() == set(PAIRS[:3])
        assert journal.notes == ()


def test_a_tail_of_zeros_after_a_power_cut_is_cut_off(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:3])
    with segments(output)[0].open("ab") as file:
        file.write(bytes(5000))
    with Journal.open(output, run_of()) as journal:
        assert journal.completed() == set(PAIRS[:3])


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
            assert hit not in journal.completed()
            assert all(pair in journal.completed() for pair, r in before.items() if r.offset < before[hit].offset)
            assert len(journal.notes) == 1 and str(segment) in journal.notes[0]
            in_header = position - before[hit].offset < 20
            if not in_header:  # the lengths are right, so the next record is found
                assert len(journal.completed()) == 11
            for pair in journal.completed():
                assert same(journal.read(*pair), matches_of(PAIRS.index(pair)))
            fill(journal, [pair for pair in PAIRS[:12] if pair not in journal.completed()])
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
        assert not (tmp_path / ".m.h5.astr-tmp").exists()


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
            assert len(journal.completed()) == 3
            journal.finish(PAIRS[:3])
        assert list(tmp_path.iterdir()) == [output]


def test_overwrite_starts_anew_and_keeps_the_old_output_until_the_end(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    old = whole_run(tmp_path)
    other = run_of(options=(*OPTIONS[:3], ("threshold", "0.5")))
    with Journal.open(output, other, overwrite=True) as journal:
        assert journal.completed() == set()
        assert journal.unlisted(PAIRS[:1]) == []
        fill(journal, PAIRS[:2])
    assert output.read_bytes() == old
    with Journal.open(output, other) as journal:  # goes on without --overwrite, whatever the old output is
        assert journal.completed() == set(PAIRS[:2])
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
            assert journal.completed() == {pair for pair in PAIRS if NAMES[2] not in pair}
    with Journal.open(output, run_of()) as journal:
        assert journal.completed() == set(PAIRS)


def test_the_later_record_of_a_pair_counts(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    for mtime in (1, 2):
        with Journal.open(output, run_of(mtime=mtime)) as journal:
            assert journal.completed() == set()
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
        assert journal.completed() == {pair for pair in PAIRS[:10] if set(pair) <= set(NAMES[:3])}
    with Journal.open(output, run_of()) as journal:
        assert journal.completed() == set(PAIRS[:10])
        assert same(journal.read(*PAIRS[4]), matches_of(4))
        fill(journal, PAIRS[10:15])
        if not killed:
            fill(journal, PAIRS[15:])
            journal.finish(PAIRS)
    with Journal.open(output, run_of()) as journal:
        fill(journal, [pair for pair in PAIRS if pair not in journal.completed()])
        journal.finish(PAIRS)
    assert output.read_bytes() == whole_run(tmp_path / "whole")
    assert not (tmp_path / "m.h5.journal").exists()


def test_the_order_of_the_two_names_counts(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "m.h5", run_of()) as journal:
        fill(journal, PAIRS[:1])
        assert PAIRS[0][::-1] not in journal.completed()
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
        assert journal.completed() == set(PAIRS)
        journal.finish(PAIRS)
    assert (output.read_bytes(), list(tmp_path.iterdir())) == (expected, [output])


def test_segments_without_run_json_are_the_rest_of_a_removal(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS)
    (tmp_path / "m.h5.journal" / "run.json").unlink()
    with Journal.open(output, run_of()) as journal:
        assert journal.completed() == set()
        assert segments(output) == []
