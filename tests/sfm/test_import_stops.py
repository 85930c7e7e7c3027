"""An import that is killed, stopped or interfered with: nothing is ever half done."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.options.database import ImportOptions, TrackOptions
from astr_cli.sfm.database import import_steps as work
from astr_cli.sfm.database.importing import import_matches

from .foreign_databases import execute, files, query

KILLED = """
import os, sys
from pathlib import Path
from astr_cli.options.database import ImportOptions
from astr_cli.sfm.database import keypoints, verification
from astr_cli.sfm.database.importing import import_matches
count = 0
def die(original):
    def step(*arguments):
        global count
        count += 1
        if count == int(sys.argv[3]):
            os.kill(os.getpid(), 9)
        return original(*arguments)
    return step
module, name = sys.argv[2].split(".")
module = {"keypoints": keypoints, "verification": verification}[module]
setattr(module, name, die(getattr(module, name)))
import_matches(ImportOptions(Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.name == "nt", reason="no kill -9 there")
@pytest.mark.parametrize(
    ("where", "step", "resumed"),
    [
        ("keypoints._append_keypoints", 3, False),
        ("keypoints._append_matches", 9, False),
        ("verification._settle", 1, True),
    ],
)
def test_killed_anywhere_the_database_is_as_it_was(
    where: str, step: int, resumed: bool, sift: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = workplace / "whole.db"
    shutil.copy(sift, whole)
    import_matches(ImportOptions(whole, backup=False))
    content = sift.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(sift), where, str(step)], check=False, timeout=300)
    assert done.returncode == -9
    assert sift.read_bytes() == content
    assert len(files(workplace)) > 4, "it was killed before it began"
    written: list[Any] = []
    fill = work.write_points
    monkeypatch.setattr(work, "write_points", lambda *arguments: written.append(fill(*arguments)))
    summary = import_matches(ImportOptions(sift))
    assert len(written) == (0 if resumed else 1)
    assert summary.verified.pairs == 14
    assert files(workplace) == ["matches.h5", "photos", "sift.db", "sift.db.backup", "whole.db"]
    for table in ("keypoints", "descriptors", "matches", "two_view_geometries", "images", "images"):
        assert query(sift, f"SELECT * FROM {table}") == query(whole, f"SELECT * FROM {table}"), table


def test_stopped_in_verification_it_goes_on(
    sift: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    content = sift.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(work, "verify", stop)
        assert run(["colmap-import", str(sift)]) == 130
    assert "it is unchanged" in capfd.readouterr().err
    assert sift.read_bytes() == content
    # Other options are another work: what was left is of no use to it.
    written: list[Any] = []
    fill = work.write_points
    monkeypatch.setattr(work, "write_points", lambda *arguments: written.append(fill(*arguments)))
    import_matches(ImportOptions(sift))
    assert not written
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(work, "verify", stop)
        import_matches(ImportOptions(sift, tracks=TrackOptions(min_score=0.5)))
    import_matches(ImportOptions(sift, tracks=TrackOptions(min_score=0.6)))
    assert len(written) == 2
    assert not any(name.endswith("part") for name in files(workplace))


def test_a_database_that_changes_meanwhile_is_not_replaced(sift: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interfere(*arguments: Any) -> None:
        execute(sift, "UPDATE images SET name = 'other.png' WHERE image_id = 1")

    monkeypatch.setattr(work, "verify", interfere)
    with pytest.raises(AstrError, match="another program opened or changed it"):
        import_matches(ImportOptions(sift))
    assert query(sift, "SELECT name FROM images WHERE image_id = 1") == [("other.png",)]
