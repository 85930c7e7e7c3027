"""The journal: a second run, places that cannot be written, foreign files, full disks; and its records."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.errors import Stopped
from astr_cli.pairs.reading import pair_key
from astr_cli.store.errors import StoreError
from astr_cli.store.groups import pair_group
from astr_cli.store.journal import Journal
from astr_cli.store.records import decode, encode
from astr_cli.store.run_info import ImageStamp
from astr_cli.store.types import PairMatches

from .journal_helpers import OPTIONS, PAIRS, fill, matches_of, run_of, same


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    code = (
        "import sys; from pathlib import Path; from astr_cli.store.errors import StoreError\n"
        "from astr_cli.store.journal import Journal; from astr_cli.store.run_info import RunInfo\n"
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
    for overwrite in (False, True):
        with pytest.raises(StoreError, match=r"exists and is not an HDF5 file, so .*; choose another --out$"):
            Journal.open(output, run_of(), overwrite)
    assert (output.read_bytes(), list(tmp_path.iterdir())) == (b"a thesis", [output])
    output.write_bytes(b"\x89HDF\r\n\x1a\n and half a file")
    with pytest.raises(
        StoreError, match=r"not a complete HDF5 file.*choose another --out, or replace it with --overwrite"
    ):
        Journal.open(output, run_of())
    Journal.open(output, run_of(), overwrite=True).close()


@pytest.mark.parametrize("name", [".", "..", ""])
def test_an_output_that_is_a_folder(name: str) -> None:
    with pytest.raises(StoreError, match="is a folder; --out names the file to write"):
        Journal.open(Path(name), run_of())


def test_damaged_run_json_and_other_formats(tmp_path: Path) -> None:
    output = tmp_path / "m.h5"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:1])
    saved = tmp_path / "m.h5.journal" / "run.json"
    content = saved.read_text()
    for text, message in ((content[:50], "damaged"), (content.replace('"2"', '"0"', 1), "journal format 0")):
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
        assert journal.completed() == set()


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
        assert journal.completed() == {*PAIRS[:2], PAIRS[3]}
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
        assert journal.completed() == set(PAIRS[:2])


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
