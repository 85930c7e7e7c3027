"""No temporary file, lock or journal is written through a link that another could have put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from astr_cli.errors import AstrError
from astr_cli.files import open_new, open_own, parse_json, real_path, temporary_path, write_whole
from astr_cli.pairs.writing import write_pairs
from astr_cli.store.errors import StoreError
from astr_cli.store.journal import Journal
from astr_cli.store.writer import write_matches

from .journal_helpers import PAIRS, fill, run_of, whole_run
from .matches_helpers import ENTRIES, OPTIONS

SECRET = b"a thesis"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that nothing may change."""
    path = tmp_path / "victim"
    path.write_bytes(SECRET)
    return path


def test_whole_files(tmp_path: Path, victim: Path) -> None:
    target = tmp_path / "out.txt"
    write_whole(target, "é\n")
    assert target.read_bytes() == "é\n".encode()
    temporary_path(target).write_text("left by a killed run")
    write_whole(target, b"again")
    temporary_path(target).symlink_to(victim)
    with pytest.raises(OSError, match="is a link; remove it"):
        write_whole(target, b"third")
    assert (target.read_bytes(), victim.read_bytes(), temporary_path(target).is_symlink()) == (b"again", SECRET, True)


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hardlink", "fifo", "folder"])
def test_names_that_are_not_astrs(tmp_path: Path, victim: Path, kind: str) -> None:
    path = tmp_path / "lock"
    made = {
        "symlink": lambda: path.symlink_to(victim),
        "dangling": lambda: path.symlink_to(tmp_path / "new"),
        "hardlink": lambda: path.hardlink_to(victim),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }
    made[kind]()
    with pytest.raises(OSError):
        open_own(path, os.O_RDWR | os.O_CREAT)
    if kind == "hardlink":
        os.close(open_new(path))  # a new file takes the name; the other keeps its content
    else:
        with pytest.raises(OSError):
            open_new(path)
    assert victim.read_bytes() == SECRET
    assert not (tmp_path / "new").exists()


def test_where_a_link_leads(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to("victim")
    assert real_path(tmp_path / "link") == victim.resolve()
    assert real_path(tmp_path / "plain") == tmp_path / "plain"
    (tmp_path / "dangling").symlink_to("new")
    assert real_path(tmp_path / "dangling") == tmp_path.resolve() / "new"
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(AstrError, match="circle"):
        real_path(tmp_path / "circle")


def test_matches(tmp_path: Path, victim: Path) -> None:
    temporary_path(tmp_path / "m.h5").symlink_to(victim)
    with pytest.raises(StoreError, match=r"cannot be written .* is a link"):
        write_matches(tmp_path / "m.h5", OPTIONS, ENTRIES)
    assert victim.read_bytes() == SECRET


@pytest.mark.parametrize("name", ["", "lock", "run.json", "000000.seg"])
def test_the_journal(tmp_path: Path, victim: Path, name: str) -> None:
    output, folder = tmp_path / "m.h5", tmp_path / "m.h5.journal"
    with Journal.open(output, run_of()) as journal:
        fill(journal, PAIRS[:2])
    if name:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(victim)
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="link"):
        Journal.open(output, run_of())
    assert victim.read_bytes() == SECRET


def test_a_leftover_of_run_json_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "m.h5.journal"
    folder.mkdir()
    temporary_path(folder / "run.json").write_text("torn")
    assert whole_run(tmp_path) == whole_run(tmp_path / "other")
    assert not folder.exists()


def test_pairs(tmp_path: Path, victim: Path) -> None:
    temporary_path(tmp_path / "pairs.txt").symlink_to(victim)
    with pytest.raises(AstrError, match="is a link"):
        write_pairs(tmp_path / "pairs.txt", [("a.jpg", "b.jpg")])
    assert victim.read_bytes() == SECRET


def test_an_output_that_is_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "pairs.txt").symlink_to(tmp_path / "disk" / "real.txt")
    write_pairs(tmp_path / "pairs.txt", [("a.jpg", "b.jpg")])
    assert (tmp_path / "pairs.txt").is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "a.jpg b.jpg\n"


def test_deep_json() -> None:
    with pytest.raises(ValueError, match="deeply"):
        parse_json("[" * 1_000_000)


def test_deep_json_in_run_json(tmp_path: Path) -> None:
    folder = tmp_path / "m.h5.journal"
    with Journal.open(tmp_path / "m.h5", run_of()) as journal:
        fill(journal, PAIRS[:2])
    (folder / "run.json").write_text("[" * 1_000_000)
    with pytest.raises(StoreError, match="damaged"):
        Journal.open(tmp_path / "m.h5", run_of())
