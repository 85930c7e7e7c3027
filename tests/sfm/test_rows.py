"""Reading matches.h5 into rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.sfm.tracks.match_rows import read_rows
from astr_cli.store.errors import StoreError
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

POINTS = np.array([[3.5, 3.5], [11.5, 3.5]], np.float32)
MATCHES = PairMatches(POINTS, POINTS + 1, np.array([0.9, 0.3], np.float32), np.zeros(2, np.uint8))


def read(path: Path, min_score: float = 0.0) -> Any:
    with MatchesFile(path) as file:
        return read_rows(file, min_score)


def test_rows_are_what_was_written(scene: Any, tmp_path: Path) -> None:
    rows, expected = read(scene.write(tmp_path / "m.h5")), scene.rows()
    assert [(f.name, f.size) for f in rows.images] == [(f.name, f.size) for f in expected.images]
    for name in ("keypoints0", "keypoints1", "scores", "reference"):
        assert (getattr(rows, name) == getattr(expected, name)).all()
    assert (rows.pairs[rows.pair] == expected.pairs[expected.pair]).all()


def test_weak_matches_are_left_out(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.h5", [("long_side", "64")], [MatchEntry("a", "b", (64, 64), (96, 64), MATCHES)])
    assert len(read(tmp_path / "m.h5")) == 2
    assert read(tmp_path / "m.h5", 0.5).scores.tolist() == [np.float32(0.9)]
    images = read(tmp_path / "m.h5").images
    assert [matched.matched for matched in images] == [(64, 64), (64, 32)]
    tiled = [("long_side", "64"), ("tiles", "true")]
    write_matches(tmp_path / "t.h5", tiled, [MatchEntry("a", "b", (64, 64), (96, 64), MATCHES)])
    assert [matched.matched for matched in read(tmp_path / "t.h5").images] == [(64, 64), (96, 64)]


@pytest.mark.parametrize(
    ("options", "sizes", "message"),
    [
        ([], ((64, 64), (64, 64)), "long_side"),
        ([("long_side", "big")], ((64, 64), (64, 64)), "'big'"),
        ([("long_side", "64")], ((64, 64), (64, 65)), "a is 64x64 in one pair and 64x65 in another"),
    ],
)
def test_files_that_make_no_sense(options: Any, sizes: Any, message: str, tmp_path: Path) -> None:
    entries = [MatchEntry("a", other, size, (64, 64), MATCHES) for other, size in zip("bc", sizes, strict=True)]
    write_matches(tmp_path / "m.h5", options, entries)
    with pytest.raises(StoreError, match=message):
        read(tmp_path / "m.h5")


def test_a_file_without_pairs(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.h5", [("long_side", "64")], [])
    with pytest.raises(StoreError, match="no pairs"):
        read(tmp_path / "m.h5")
