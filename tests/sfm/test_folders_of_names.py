"""Names with folders: sequences of their own, and databases whose names have another folder in front."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.options.pairs import PairChoice
from astr_cli.sfm.database.difference import other_folder
from astr_cli.sfm.pairs.automatic import Source, choose_pairs, write_choice
from astr_cli.sfm.pairs.generators import sequential

from .foreign_databases import execute, query

VIDEOS = tuple(f"cam{camera}/f{frame}.jpg" for camera in range(2) for frame in range(6))


@pytest.mark.parametrize("quadratic", [False, True])
def test_each_folder_is_a_sequence(quadratic: bool) -> None:
    pairs = sequential(VIDEOS, 2, quadratic).pairs
    assert len(pairs) >= 2 * (5 + 4) and all(a.split("/")[0] == b.split("/")[0] for a, b in pairs)
    alone = sequential([*VIDEOS, "cam2/f0.jpg"], 2, quadratic).pairs
    assert alone == pairs
    assert sequential(["a/1.jpg", "b/1.jpg"], 2, quadratic).pairs == []


def test_the_command_says_that_nothing_joins_two_videos(tmp_path: Path, capfd: Any) -> None:
    """Case 11."""
    for name in VIDEOS:
        (tmp_path / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 48)).save(tmp_path / "v" / name)
    out = tmp_path / "s.txt"
    assert run(["pairs", "sequential", str(tmp_path / "v"), "--overlap", "2", "--out", str(out)]) == 0
    assert not [line for line in out.read_text().splitlines() if "cam0" in line and "cam1" in line]
    assert "no pair connects the 2 groups of 6, 6 photos" in capfd.readouterr().err
    source = Source(tmp_path / "v", VIDEOS, "w", "cpu")
    chosen = write_choice(tmp_path / "pairs.txt", source, PairChoice("sequential"), lambda line: None)
    assert any("no pair connects the 2 groups" in warning for warning in chosen.warnings)
    assert len(chosen.pairs) == len(choose_pairs(source, PairChoice("sequential")).pairs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("'images/' || name", "its names begin with images/ (images/a.png), the matched ones do not (a.png)"),
        ("substr(name, 5)", "the matched names begin with sub/ (sub/d.png), its own do not (d.png)"),
    ],
)
def test_a_database_with_another_folder_in_front(
    change: str, message: str, sift: Path, workplace: Path, capfd: Any
) -> None:
    where = "" if "images" in change else " WHERE name LIKE 'sub/%'"
    execute(sift, f"UPDATE images SET name = {change}{where}")
    assert run(["colmap-import", str(sift)]) == 2
    error = capfd.readouterr().err
    assert message in error and "would come twice" in error and "append" not in error
    before = query(sift, "SELECT COUNT(*) FROM images")[0][0]
    # Who insists may have it, and is warned.
    assert run(["colmap-import", str(sift), "--mode", "append", "-q", "--no-verify"]) == 0
    assert message in capfd.readouterr().err
    assert query(sift, "SELECT COUNT(*) FROM images")[0][0] > before


def test_other_names_are_other_names() -> None:
    path = Path("x.db")
    assert other_folder(path, ["a/1.jpg", "b/2.jpg"], ["1.jpg", "2.jpg"]) is None
    assert other_folder(path, ["x1.jpg"], ["1.jpg"]) is None
    assert other_folder(path, [], ["1.jpg"]) is None
