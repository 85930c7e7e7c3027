"""`astr reconstruct`, `pairs` and `match` replace what they wrote, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.options.files import ExportOptions
from astr_cli.pairs.writing import write_pairs
from astr_cli.sfm.exports.export import export_matches
from astr_cli.sfm.mapping.mapper import map_database
from astr_cli.store.errors import StoreError
from astr_cli.store.output import refuse_foreign
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches


@pytest.mark.parametrize("name", ["pairs.txt", "options.toml", "summary.json", "sparse/0/points3D.bin", "sparse/0/x"])
def test_reconstruct_keeps_files_of_others(workplace: Path, name: str, capfd: Any) -> None:
    path = workplace / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text('{"mine": 1}\n')
    assert run(["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out")]) == 2
    assert "choose another --out" in capfd.readouterr().err
    assert path.read_text() == '{"mine": 1}\n'
    assert [each for each in (workplace / "out").rglob("*") if each.is_file()] == [path]


def test_mapping_keeps_models_of_others(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "points3D.bin").touch()
    with pytest.raises(AstrError, match="3: exists and is not a model of astr"):
        map_database(tmp_path / "no.db", tmp_path, tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 a photo", b"my notes of the day", b"one\ntwo\n"])
def test_pairs_keep_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(AstrError, match="is not a pairs file"):
        write_pairs(path, [("a", "b")], overwrite=True)
    assert path.read_bytes() == content


def test_exports_do_not_follow_links(tmp_path: Path) -> None:
    points = np.full((9, 2), 50, np.float32)
    rows = PairMatches(points, points, np.ones(9, np.float32), np.zeros(9, np.uint8))
    write_matches(tmp_path / "m.h5", [("long_side", "96")], [MatchEntry("a.jpg", "b.jpg", (96, 96), (96, 96), rows)])
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "keypoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AstrError, match="keypoints: is a link"):
        export_matches(ExportOptions(tmp_path / "m.h5", tmp_path / "out", "colmap", overwrite=True))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_match_keeps_hdf5_files_of_others(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["a.jpg/keypoints"] = [1.0]
    with pytest.raises(StoreError, match="was not written by astr match"):
        refuse_foreign(tmp_path / "features.h5")
