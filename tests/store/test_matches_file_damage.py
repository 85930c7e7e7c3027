"""matches.h5: files that are not ours, spoilt ones, and what of a finished one can be reused."""

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.store.errors import JournalMismatch, StoreError
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.output import read_output
from astr_cli.store.run_info import ImageStamp, RunInfo
from astr_cli.store.writer import write_matches

from .matches_helpers import ENTRIES, OPTIONS, SIZE0, SIZE1


def hloc_file(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group("a.jpg/b.jpg")
        group["keypoints0"] = np.zeros((3, 2), np.float32)


def test_files_that_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with pytest.raises(StoreError, match="no such file; make it with astr match"):
        MatchesFile(path)
    with pytest.raises(StoreError, match=r"is a folder|not a complete HDF5 file"):
        MatchesFile(tmp_path)
    path.write_bytes(b"text")
    with pytest.raises(StoreError, match="not a complete HDF5 file"):
        MatchesFile(path)
    hloc_file(path)
    with pytest.raises(StoreError, match="was not written by astr match"):
        MatchesFile(path)
    write_matches(path, OPTIONS, ENTRIES)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match="not a complete HDF5 file"):
        MatchesFile(path)
    write_matches(path, OPTIONS, ENTRIES)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "astr-matches-99"
    with pytest.raises(StoreError, match="has format 'astr-matches-99'; this astr reads astr-matches-1"):
        MatchesFile(path)


def spoil_nan(group: h5py.Group) -> None:
    group["keypoints0"][2, 1] = np.inf


def spoil_length(group: h5py.Group) -> None:
    del group["scores"]
    group["scores"] = np.zeros(3, np.float32)


def spoil_type(group: h5py.Group) -> None:
    del group["keypoints1"]
    group["keypoints1"] = np.zeros((7, 2), np.float16)


def spoil_reference(group: h5py.Group) -> None:
    group["reference"][0] = 2


def spoil_missing(group: h5py.Group) -> None:
    del group["reference"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nan, "keypoints0 holds values that are not finite"),
        (spoil_length, "scores has|keypoints0 has shape"),
        (spoil_type, "keypoints1 is float16 where float32 is needed"),
        (spoil_reference, "other than 0 and 1"),
        (spoil_missing, "lacks reference"),
    ],
)
def test_spoilt_arrays_are_refused(tmp_path: Path, spoil: object, message: str) -> None:
    path = tmp_path / "m.h5"
    write_matches(path, OPTIONS, ENTRIES)
    with h5py.File(path, "r+") as file:
        spoil(file["cam 1-b.jpg/a.jpg"])  # type: ignore[operator]
    with MatchesFile(path) as file, pytest.raises(StoreError, match=message):
        file.read("cam 1/b.jpg", "a.jpg")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("name0", None, "lacks the attribute name0"),
        ("size1", None, "lacks the attribute size1"),
        ("size0", np.array([1, 2, 3]), "is not \\(width, height\\)"),
        ("size0", np.array([0, 2]), "is not \\(width, height\\)"),
        ("name1", "z.jpg", "is named cam 1/b.jpg z.jpg"),
    ],
)
def test_spoilt_attributes_are_refused(tmp_path: Path, name: str, value: object, message: str) -> None:
    path = tmp_path / "m.h5"
    write_matches(path, OPTIONS, ENTRIES)
    with h5py.File(path, "r+") as file:
        attributes = file["cam 1-b.jpg/a.jpg"].attrs
        del attributes[name]
        if value is not None:
            attributes[name] = value
    with MatchesFile(path) as file, pytest.raises(StoreError, match=message):
        file.pairs()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_byte_never_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped.h5"
    write_matches(path, OPTIONS, ENTRIES[:2])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        with MatchesFile(path) as file:
            for pair in file.pairs():
                file.read(pair.name0, pair.name1)
    except StoreError as error:
        assert "\n" not in str(error)


def test_what_of_a_finished_file_can_be_reused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    stamps = {"cam 1/b.jpg": SIZE0, "a.jpg": SIZE1, "ü/日本.jpg": SIZE0}
    run = RunInfo(OPTIONS, tuple(ImageStamp(name, *size, 1, 1) for name, size in stamps.items()))
    assert read_output(path) is None
    write_matches(path, OPTIONS, ENTRIES)
    output = read_output(path)
    assert output is not None
    assert output.reusable(run) == {("cam 1/b.jpg", "a.jpg"), ("ü/日本.jpg", "a.jpg")}
    newer = [s._replace(mtime_ns=path.stat().st_mtime_ns + 1) if s.name[0] == "c" else s for s in run.images]
    assert output.reusable(RunInfo(OPTIONS, tuple(newer))) == {("ü/日本.jpg", "a.jpg")}
    in_the_future = tuple(stamp._replace(mtime_ns=stamp.mtime_ns + 10**18 * 4) for stamp in run.images)
    assert output.reusable(RunInfo(OPTIONS, in_the_future)) == output.reusable(run)
    with pytest.raises(JournalMismatch, match=r"long_side: 640 -> 832"):
        output.reusable(RunInfo((*OPTIONS[:3], ("long_side", "832")), run.images))


def test_a_finished_file_is_read_again_only_when_it_was_written_to(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    write_matches(path, OPTIONS, ENTRIES)
    output = read_output(path)
    assert read_output(path, output) is output
    write_matches(path, OPTIONS, ENTRIES[:1])
    again = read_output(path, output)
    assert again is not None
    assert len(again.pairs) == 1


def test_resources_are_let_go(tmp_path: Path) -> None:
    """Refused files do not stay open."""
    hloc_file(tmp_path / "m.h5")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for _ in range(min(limit, 1024) + 10):
        with pytest.raises(StoreError):
            MatchesFile(tmp_path / "m.h5")
