"""Archives and pickles are read as numpy reads them, and never run."""

import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.readers.npz import has_arrays, read_npz


def of_objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), object)
    for place, item in enumerate(items):
        array[place] = item
    return array


CONTENT: dict[str, Any] = {
    "image_paths": of_objects("a/é.jpg", None, "b/2.jpg"),
    "intrinsics": of_objects(np.arange(9.0).reshape(3, 3), None, np.asfortranarray(np.eye(3, dtype=np.float32) * 5)),
    "pair_infos": of_objects(
        (np.array([0, 2]), 0.25, np.zeros((0, 6))), ((np.int64(0), 2), np.float32(0.5), np.ones((2, 3), ">i2"))
    ),
    "grid": np.array([[1, "x"], [None, (2.5, True)]], object),
    "plain": np.arange(6).reshape(2, 3),
    "text": np.array(["one", "zwölf"]),
    "bytes": np.array([b"a\xff", b"bc"]),
}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        alike = isinstance(right, np.ndarray) and left.shape == right.shape and left.dtype == right.dtype
        return alike and all(same(a, b) for a, b in zip(left.flat, right.flat, strict=True))
    if isinstance(left, (tuple, list)):
        return type(left) is type(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("compressed", [False, True])
def test_archives_with_objects_come_back(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, **CONTENT)
    found = read_npz(path)
    assert found.keys() == CONTENT.keys()
    assert all(same(found[key], CONTENT[key]) for key in CONTENT)
    assert has_arrays(path, "image_paths", "pair_infos") and not has_arrays(path, "image_paths", "name")


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_dicts_come_back(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.npz"
    content = CONTENT | {"list": [1, ("a", np.arange(3)), {"b": np.eye(2)}]}
    path.write_bytes(pickle.dumps(content, protocol))
    found = read_npz(path)
    assert all(same(found[key], content[key]) for key in CONTENT)
    assert same(found["list"][1], ("a", np.arange(3))) and same(found["list"][2]["b"], np.eye(2))


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("form", ["archive", "pickle", "deep"])
def test_a_program_in_a_file_is_named_and_not_run(tmp_path: Path, form: str) -> None:
    target, path = tmp_path / "made", tmp_path / "a.npz"
    if form == "archive":
        np.savez(path, image_paths=of_objects("a", Evil(target)))
    else:
        deep = {"poses": of_objects(np.eye(4), [(1, Evil(target))])}
        path.write_bytes(pickle.dumps(deep if form == "deep" else Evil(target)))
    with pytest.raises(EvaluateError, match=r"a\.npz: wants to run (posix|nt)\.mkdir"):
        read_npz(path)
    assert not target.exists()
    if form == "archive":  # the same file does run where pickles are allowed: the test is no sham
        with np.load(path, allow_pickle=True) as archive:
            assert len(archive["image_paths"]) == 2
        assert target.exists()


@pytest.mark.parametrize(
    "value", [np.zeros(2, [("a", "f4"), ("b", object)]), np.datetime64("2020-01-01"), np.zeros(2, complex), Path("a")]
)
def test_what_no_index_needs_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(pickle.dumps({"a": value}))
    with pytest.raises(EvaluateError, match=r"a\.npz: "):
        read_npz(path)


def test_arrays_are_not_made_of_bytes_that_claim_to_be_objects(tmp_path: Path) -> None:
    """Eight bytes as an object would be a pointer that the file chooses."""
    array = pickle.dumps({"a": np.array([7], "i8")}, 4)
    path = tmp_path / "a.npz"
    path.write_bytes(array.replace(b"\x8c\x02i8", b"\x8c\x02O8"))
    with pytest.raises(EvaluateError, match="cannot be read"):
        read_npz(path)


@pytest.mark.parametrize("form", ["archive", "pickle"])
def test_cut_files_are_damaged(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.npz"
    content = {"poses": of_objects(np.eye(4), None)}
    if form == "archive":
        np.savez(path, **content)
    else:
        path.write_bytes(pickle.dumps(content))
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(EvaluateError, match=r"a\.npz: cannot be read"):
            read_npz(path)
    assert not has_arrays(tmp_path / "none.npz", "poses")
    with pytest.raises(EvaluateError, match="no such file"):
        read_npz(tmp_path / "none.npz")


def laughs(kind: type, depth: int, outer: Any) -> bytes:
    value = kind(("x",))
    for _ in range(depth):
        value = kind((value, value))
    return pickle.dumps(outer(value), 4)


BOMBS = {
    "memo": b"\x80\x04Nr\xff\xff\xff\x0f.",
    "bytes": b"\x80\x04\x8e" + (1 << 32).to_bytes(8, "little"),
    "text": b"\x80\x04\x8d" + (1 << 32).to_bytes(8, "little") + b".",
    "number": b"\x80\x04\x8b" + (1 << 30).to_bytes(4, "little") + b".",
    "frame": b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little"),
    "put": b"\x80\x04Np999999999999\n.",
    "nothing there": b"\x80\x04\x86.",
    "no mark": b"\x80\x04t.",
    "dup": b"\x80\x04N2\x86.",
    "lists": laughs(list, 60, lambda value: {"poses": value}),
    "tuples": laughs(tuple, 60, lambda value: {"poses": value}),
    "deep": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
}
# A tuple as a key: its hash visits all parts, while the file is loaded. pickle itself would take as long to write it.
BOMBS["keys"] = b"\x80\x04}" + b"N\x85\x94" + b"".join(b"h%c\x86\x94" % place for place in range(60)) + b"Ns."


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("packed", [False, True])
def test_bombs_are_refused_before_they_go_off(tmp_path: Path, bomb: str, packed: bool) -> None:
    path = tmp_path / "a.npz"
    if packed:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (2,)})
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("poses.npy", header.getvalue() + BOMBS[bomb])
    else:
        path.write_bytes(BOMBS[bomb])
    tracemalloc.start()
    with pytest.raises(EvaluateError, match="cannot be read"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_an_array_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("poses.npy", header.getvalue())
    with pytest.raises(EvaluateError, match="claims more than it holds"):
        read_npz(tmp_path / "a.npz")


def test_a_dense_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", depth=np.zeros(1 << 20))
    assert read_npz(tmp_path / "a.npz")["depth"].shape == (1 << 20,)
    monkeypatch.setattr("astr_cli.evaluate.readers.npz.ALWAYS", 1 << 20)
    with pytest.raises(EvaluateError, match="packed too densely"):
        read_npz(tmp_path / "a.npz")
