"""Groups and the index of matches.h5: the low-level calls write what h5py's usual ones do, the index finds the same."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from astr_cli.sfm.checks.worker import inspect
from astr_cli.store.errors import StoreError
from astr_cli.store.groups import pair_group
from astr_cli.store.index import GROUP
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import MatchEntry
from astr_cli.store.writer import write_matches

from .matches_helpers import OPTIONS, SIZE0, SIZE1, matches_of

HASH = "ab" * 32
SIZES = {"b.jpg": SIZE0, "cam 1/a.jpg": SIZE1, "ü/日本.jpg": SIZE0, "empty.jpg": SIZE1}


def entry(name0: str, name1: str, rows: int, sigma: bool = False) -> MatchEntry:
    matches = matches_of(rows, rows)
    if sigma:
        matches = type(matches)(*list(matches.columns().values()), np.full(rows, 0.5, np.float32))
    matched = {SIZE0: (640, 480), SIZE1: (320, 256)}
    sizes = SIZES[name0], SIZES[name1]
    return MatchEntry(name0, name1, *sizes, matches, *(matched[size] for size in sizes), HASH, "")


ENTRIES = [
    entry("ü/日本.jpg", "b.jpg", 300, sigma=True),
    entry("b.jpg", "empty.jpg", 0),
    entry("b.jpg", "cam 1/a.jpg", 7),
    entry("cam 1/a.jpg", "empty.jpg", 0, sigma=True),
]
ENTRIES = [each._replace(content1=HASH) for each in ENTRIES]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_matches(tmp_path / "matches.h5", OPTIONS, ENTRIES)
    return tmp_path / "matches.h5"


def write_plainly(file: h5py.File, each: MatchEntry) -> None:
    """The plain twin of GroupWriter."""
    group = file.create_group(pair_group(each.name0, each.name1))
    for name in ("name0", "name1", "content0", "content1"):
        data = getattr(each, name).encode()
        group.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", len(data)))
    for name in ("size0", "size1", "matched0", "matched1"):
        group.attrs[name] = np.array(getattr(each, name), np.int32)
    for spec, array in each.matches.columns().items():
        group.create_dataset(spec.name, data=array, dtype=spec.dtype, track_times=False)


def content(item: Any) -> Any:
    """All that h5py shows of a group or dataset."""
    attributes = {
        name: (item.attrs.get_id(name).dtype, np.asarray(value).tolist()) for name, value in item.attrs.items()
    }
    if isinstance(item, h5py.Group):
        return attributes, {name: content(item[name]) for name in item}
    properties = item.id.get_create_plist()
    return attributes, item.dtype, item.shape, item[()].tobytes(), properties.get_layout()


def test_low_level_calls_write_what_the_usual_ones_do(path: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as plain:
        for each in ENTRIES:
            write_plainly(plain, each)
        with h5py.File(path) as file:
            pairs = [name for name in file if name != GROUP]
            assert pairs == list(plain)
            assert {name: content(file[name]) for name in pairs} == {name: content(plain[name]) for name in plain}


def test_the_index_finds_what_the_groups_hold(path: Path) -> None:
    with MatchesFile(path) as fast, MatchesFile(path, indexed=False) as plain:
        assert fast.index is not None and plain.index is None
        assert fast.pairs() == plain.pairs() and len(fast.pairs()) == 4
        for pair in plain.pairs():
            names = pair.name0, pair.name1
            assert fast.count(*names) == plain.count(*names)
            expected, found = (file.read(*names).columns() for file in (plain, fast))
            assert {spec: (a.dtype, a.shape, a.tobytes()) for spec, a in found.items()} == {
                spec: (a.dtype, a.shape, a.tobytes()) for spec, a in expected.items()
            }
        with pytest.raises(StoreError, match="has no pair"):
            fast.read("empty.jpg", "b.jpg")


def test_a_photo_with_the_name_of_the_index(tmp_path: Path) -> None:
    entries = [each._replace(name0=GROUP) if each.name0 == "b.jpg" else each for each in ENTRIES]
    write_matches(tmp_path / "matches.h5", OPTIONS, entries)
    with MatchesFile(tmp_path / "matches.h5") as file:
        assert file.index is None and len(file.pairs()) == 4


def test_pairs_that_another_program_added_are_seen(path: Path) -> None:
    with h5py.File(path, "a") as file:
        write_plainly(file, ENTRIES[0]._replace(name0="new.jpg"))
    with MatchesFile(path) as file:
        assert file.index is None and len(file.pairs()) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pairs", 9),
        ("pairs", -1),
        ("rows", -1),
        ("rows", 1 << 40),
        ("offsets", 1 << 40),
        ("offsets", -2),
        ("sizes", -1),
    ],
)
def test_an_index_that_leads_nowhere_is_damage(path: Path, name: str, value: int) -> None:
    with h5py.File(path, "a") as file:
        array = file[GROUP][name]
        array[(0,) * array.ndim] = value
    with pytest.raises(StoreError, match="damaged"):
        MatchesFile(path)
    assert findings(path)["index"][0].startswith("damaged")


def test_an_index_that_disagrees_is_found(path: Path) -> None:
    assert "index" not in findings(path)
    with h5py.File(path, "a") as file:
        file[GROUP]["offsets"][0, 0] += 8
        file[GROUP]["rows"][3] = 299
    assert findings(path)["index"] == ("b.jpg - cam 1/a.jpg", "ü/日本.jpg - b.jpg")


def findings(path: Path) -> dict[str, tuple[str, ...]]:
    report = inspect(str(path), [], lambda: None)
    return {each["check"]: tuple(each["examples"]) for each in report["findings"]}
