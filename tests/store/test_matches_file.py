"""matches.h5: its layout, its bytes, and the refusal of everything else."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.errors import Stopped
from astr_cli.names import NameProblem, clean_name
from astr_cli.store.errors import StoreError
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import MatchEntry, PairMatches, StoredPair
from astr_cli.store.writer import write_matches

from .matches_helpers import ENTRIES, OPTIONS, SIZE0, SIZE1, entry


def test_layout_is_hlocs_with_our_attributes(tmp_path: Path) -> None:
    path = tmp_path / "matches.h5"
    write_matches(path, OPTIONS, ENTRIES)
    assert list(tmp_path.iterdir()) == [path]
    with h5py.File(path) as file:
        texts = {name: value.decode() for name, value in file.attrs.items()}
        assert texts == {"format": "astr-matches-3", **dict(OPTIONS)}
        group = file["cam 1-b.jpg/a.jpg"]
        assert {name: (data.dtype.str, data.shape) for name, data in group.items()} == {
            "keypoints0": ("<f4", (7, 2)),
            "keypoints1": ("<f4", (7, 2)),
            "scores": ("<f4", (7,)),
            "reference": ("|u1", (7,)),
        }
        assert (group.attrs["name0"], group.attrs["name1"]) == (b"cam 1/b.jpg", b"a.jpg")
        for name, size in (("size0", SIZE0), ("size1", SIZE1)):
            assert group.attrs[name].dtype == np.int32
            assert tuple(group.attrs[name]) == size
        assert file["a.jpg/c.jpg/keypoints0"].shape == (0, 2)
        assert file["a.jpg/c.jpg/scores"].shape == (0,)
        assert file["ü-日本.jpg/a.jpg"].attrs["name0"].decode() == "ü/日本.jpg"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "matches.h5"
    write_matches(path, OPTIONS, iter(ENTRIES))
    with MatchesFile(path) as file:
        assert file.attributes == {"format": "astr-matches-3", **dict(OPTIONS)}
        assert sorted(file.pairs()) == sorted(StoredPair(*one[:4]) for one in ENTRIES)
        for one in ENTRIES:
            found = file.read(one.name0, one.name1)
            assert len(found) == len(one.matches)
            for name in ("keypoints0", "keypoints1", "scores", "reference"):
                np.testing.assert_array_equal(getattr(found, name), getattr(one.matches, name))
        with pytest.raises(StoreError, match=r"has no pair a\.jpg z\.jpg"):
            file.read("a.jpg", "z.jpg")


def is_clean(name: str) -> bool:
    try:
        return clean_name(name) == name
    except NameProblem:
        return False


PART = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=9)
NAME = st.lists(PART, min_size=1, max_size=3).map("/".join).filter(is_clean)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(NAME, NAME, st.integers(0, 9)),
        max_size=6,
        unique_by=lambda p: (p[0].replace("/", "-"), p[1].replace("/", "-")),
    )
)
def test_any_names_and_sizes(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str, int]]) -> None:
    path = tmp_path_factory.getbasetemp() / "matches.h5"
    entries = [entry(*pair) for pair in pairs]
    write_matches(path, OPTIONS, entries)
    with MatchesFile(path) as file:
        assert sorted(file.pairs()) == sorted(StoredPair(*one[:4]) for one in entries)
        for one in entries:
            np.testing.assert_array_equal(file.read(one.name0, one.name1).keypoints1, one.matches.keypoints1)


def test_equal_input_gives_equal_bytes_in_another_process_at_another_time(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from astr_cli.store.types import MatchEntry, PairMatches; from astr_cli.store.writer import write_matches\n"
        "points = np.arange(4000, dtype=np.float32).reshape(2000, 2)\n"
        "matches = PairMatches(points, points + 1, points[:, 0].copy(), np.zeros(2000, np.uint8))\n"
        "entries = [MatchEntry(f'{i}.jpg', f'{j}.jpg', (4, 3), (4, 3), matches if j % 3 else PairMatches.empty())\n"
        "           for i in range(12) for j in range(i)]\n"
        "write_matches(Path(sys.argv[1]), (('images', 'x'), ('model', 'm')), entries)"
    )
    digests = set()
    for number in range(3):
        path = tmp_path / f"{number}.h5"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        time.sleep(0.7)  # across a change of the second
    assert len(digests) == 1


def test_entries_are_taken_one_by_one(tmp_path: Path) -> None:
    """Memory does not grow with the file."""
    taken: list[int] = []

    def entries() -> "list[MatchEntry]":
        for number in range(5):
            taken.append(number)
            assert (tmp_path / ".m.h5.astr-tmp").exists()
            yield entry(f"{number}.jpg", "x.jpg")

    write_matches(tmp_path / "m.h5", OPTIONS, entries())
    assert taken == list(range(5))


def test_the_old_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "matches.h5"
    write_matches(path, OPTIONS, ENTRIES)
    before = path.read_bytes()

    def broken() -> "list[MatchEntry]":
        yield ENTRIES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_matches(path, OPTIONS, broken())
    bad = PairMatches(*[np.full(s, np.nan, np.float32) for s in ((1, 2), (1, 2), (1,))], np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="not finite"):
        write_matches(path, OPTIONS, [MatchEntry("a", "b", (1, 1), (1, 1), bad)])
    with pytest.raises(ValueError, match="two pairs with the key a-b/c"):
        write_matches(path, OPTIONS, [entry("a/b", "c"), entry("a-b", "c")])
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])
    with pytest.raises(StoreError, match="cannot be written"):
        write_matches(tmp_path / "gone" / "m.h5", OPTIONS, ENTRIES)


@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit of the system")
@pytest.mark.parametrize("limit", [500, 20_000, 300_000])
def test_a_full_disk_stops_and_leaves_no_half_file(tmp_path: Path, limit: int) -> None:
    """A limit on the size of files stands in for the full disk: in another process, which it would cripple."""
    code = (
        "import sys, resource, signal; from pathlib import Path; import numpy as np\n"
        "from astr_cli.errors import Stopped\n"
        "from astr_cli.store.types import MatchEntry, PairMatches; from astr_cli.store.writer import write_matches\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "m = PairMatches(*[np.ones(s, np.float32) for s in ((900, 2), (900, 2), (900,))], np.zeros(900, np.uint8))\n"
        "entries = (MatchEntry(f'{i}.jpg', 'x.jpg', (4, 3), (4, 3), m) for i in range(40))\n"
        "try: write_matches(Path(sys.argv[1]), (('model', 'm'),), entries)\n"
        "except Stopped as error: print(error); sys.exit(error.exit_code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.h5")], capture_output=True, text=True)
    assert done.returncode == Stopped.exit_code, done.stderr[-2000:]
    assert done.stdout.endswith("m.h5: the disk is full; free some space and run the same command again to resume\n")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
