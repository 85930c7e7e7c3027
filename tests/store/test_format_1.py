"""Files of format 1, written by astr 0.1.0 from three photos of 128x96 pixels, are still read, resumed and kept."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astr_cli.options.database import ImportOptions
from astr_cli.options.refinement import TrackRefineOptions
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.store.errors import JournalMismatch
from astr_cli.store.journal import Journal
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.run_info import RunInfo, load_run

STORED = Path(__file__).parent / "format1"
NAMES = ("photo0.png", "photo1.png", "photo2.png")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stored files beside photos of the same names and sizes; the folder is the current one."""
    shutil.copytree(STORED, tmp_path, dirs_exist_ok=True)
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        Image.fromarray(np.zeros((96, 128), np.uint8)).save(tmp_path / "photos" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(place: Path, **changes: str) -> RunInfo:
    """The interrupted run as this version describes it: with the image root as seen from the output."""
    saved = load_run(place / "stopped.h5.journal" / "run.json")
    assert saved is not None
    return RunInfo(tuple({**saved.options, **changes}.items()), saved.images)


def test_matches_have_their_matched_size(place: Path) -> None:
    with MatchesFile(place / "matches.h5") as file, closing(StoredRows(file)) as rows:
        assert file.attributes["format"] == "astr-matches-1"
        assert [(each.name, each.size, each.matched) for each in rows.images] == [
            (name, (128, 96), (96, 64)) for name in NAMES
        ]
        assert sum(len(rows.read(pair)) for pair in range(3)) > 0


def test_a_journal_is_resumed(place: Path) -> None:
    with Journal.open(place / "stopped.h5", run_of(place)) as journal:
        assert len(journal.completed()) == 2


def test_an_image_root_given_from_the_current_folder_is_the_same_root(place: Path) -> None:
    (place / "out").mkdir()
    shutil.move(place / "stopped.h5.journal", place / "out" / "stopped.h5.journal")
    saved = load_run(place / "out" / "stopped.h5.journal" / "run.json")
    assert saved is not None
    options = {**saved.options, "images": "../photos"}
    with Journal.open(place / "out" / "stopped.h5", RunInfo(tuple(options.items()), saved.images)) as journal:
        assert len(journal.completed()) == 2
    with pytest.raises(JournalMismatch, match="images: photos -> other"):
        Journal.open(place / "out" / "stopped.h5", RunInfo(tuple({**options, "images": "other"}.items()), saved.images))


def test_an_option_that_is_younger_than_the_results_was_at_its_default(place: Path) -> None:
    run = run_of(place, younger="7")
    with pytest.raises(JournalMismatch, match="younger: "):
        Journal.open(place / "stopped.h5", RunInfo(run.options, run.images, absent={"younger": "6"}))
    with Journal.open(place / "stopped.h5", RunInfo(run.options, run.images, absent={"younger": "7"})) as journal:
        assert len(journal.completed()) == 2


def test_the_same_import_into_an_old_database_changes_nothing(place: Path) -> None:
    before = (place / "old.db").read_bytes()
    summary = import_matches(
        ImportOptions(
            place / "old.db", (place / "matches.h5",), place / "photos", refinement=TrackRefineOptions(refine="off")
        )
    )
    assert not summary.changed
    assert (place / "old.db").read_bytes() == before
