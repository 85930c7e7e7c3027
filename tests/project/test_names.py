"""One rule for the names of photos, for every file that they are read from."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.errors import AstrError
from astr_cli.evaluate.benchmark import EvaluateError, number_pairs
from astr_cli.names import NameProblem, clean_name, problem_of_names, require_name
from astr_cli.options.files import ExportOptions
from astr_cli.pairs.reading import PairsError, read_pairs
from astr_cli.sfm.colmap import open_database, pycolmap
from astr_cli.sfm.database.atomic import DatabaseError
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.exports.export import FORMATS, export_matches
from astr_cli.store.cameras import CamerasError, read_cameras
from astr_cli.store.errors import StoreError
from astr_cli.store.groups import pair_group
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

HOSTILE = ("/abs/x.jpg", "../../x.jpg", "a/../../x.jpg", "C:\\x.jpg", "\\\\host\\x.jpg", "..\\x.jpg", "a\nb", "/", "")
PARTS = st.sampled_from(["..", ".", "a", "b.jpg", "", " ", "C:", "\\", "\x1b[2J", "é", "\ud800", "x" * 300])


@given(st.lists(PARTS, max_size=5).map("/".join))
def test_a_clean_name_stays_below_every_folder(name: str) -> None:
    try:
        clean = clean_name(name)
    except NameProblem:
        return
    assert require_name(clean) == clean
    root = Path("/photos")
    assert (root / clean).resolve().is_relative_to(root)
    assert (root / clean).resolve() != root


@pytest.mark.parametrize("name", [*HOSTILE, b"\xff.jpg", 7, None])
def test_hostile_names(name: object) -> None:
    with pytest.raises(NameProblem):
        clean_name(name)


def test_one_spelling() -> None:
    assert clean_name("./a//b.jpg") == "a/b.jpg"
    with pytest.raises(NameProblem, match="one spelling"):
        require_name("./a.jpg")


def test_a_photo_that_is_a_folder() -> None:
    assert problem_of_names(["a", "b/c", "a/b/c"]) == "a is a photo and also the folder of a/b/c; rename one of them"
    assert problem_of_names(["a", "b/c", "ab/c"]) is None


def matches_with(path: Path, *pairs: tuple[str, str]) -> Path:
    """A file whose pairs have these names, as an attacker writes them."""
    points, scores = np.full((20, 2), 9.0, np.float32), np.full(20, 0.9, np.float32)
    points = points + np.arange(20, dtype=np.float32)[:, None] * 8
    rows = PairMatches(points, points, scores, np.zeros(20, np.uint8))
    names = [(f"good{number}.jpg", f"other{number}.jpg") for number in range(len(pairs))]
    write_matches(path, [("long_side", "320")], [MatchEntry(*both, (320, 320), (320, 320), rows) for both in names])
    with h5py.File(path, "r+") as file:
        for old, new in zip(names, pairs, strict=True):
            group = file[pair_group(*old)]
            for side in (0, 1):
                group.attrs[f"name{side}"] = new[side]
            file.move(pair_group(*old), pair_group(*new))
    return path


@pytest.mark.parametrize("name", ["/abs/x.jpg", "../../x.jpg", "/", "a/./b.jpg"])
def test_matches(tmp_path: Path, name: str) -> None:
    with (
        MatchesFile(matches_with(tmp_path / "m.h5", (name, "b.jpg"))) as file,
        pytest.raises(StoreError, match=r"m\.h5: pair .*: "),
    ):
        file.pairs()


@pytest.mark.parametrize("name", ["/", "../x", "b.jpg/in"])
@pytest.mark.parametrize("form", FORMATS)
def test_export_writes_nothing(tmp_path: Path, form: str, name: str) -> None:
    path = matches_with(tmp_path / "m.h5", ("a.jpg", "b.jpg"), (name, "c.jpg"))
    with pytest.raises(AstrError, match=r"absolute|leaves|folder") as error:
        export_matches(ExportOptions(path, tmp_path / "out", form))
    assert error.value.exit_code == 2
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert {each.name for each in tmp_path.iterdir()} <= {"m.h5", "out"}


def test_text_files_that_would_collide(tmp_path: Path) -> None:
    path = matches_with(tmp_path / "m.h5", ("a.jpg", "a.jpg.txt/b.jpg"))
    with pytest.raises(AstrError, match="rename"):
        export_matches(ExportOptions(path, tmp_path / "out", "colmap"))


def test_colmap_text(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text("# IMAGE 1 ../x.jpg\n1 PINHOLE 640 480 500 500 320 240\n")
    with pytest.raises(CamerasError, match=r"cameras\.txt:1: .* leaves the image root"):
        read_cameras(tmp_path / "cameras.txt")
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 640 480 500 500 320 240\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 /x.jpg\n\n")
    with pytest.raises(CamerasError, match=r"images\.txt:1: .* absolute path"):
        read_cameras(tmp_path)


@pytest.mark.parametrize("name", [b"/x.jpg", b"../x.jpg", b"\xff.jpg"])
def test_colmap_binary(tmp_path: Path, name: bytes) -> None:
    camera = struct.pack("<QIiQQ4d", 1, 1, 1, 640, 480, 500, 500, 320, 240)
    (tmp_path / "cameras.bin").write_bytes(camera)
    (tmp_path / "images.bin").write_bytes(struct.pack("<QI7dI", 1, 1, *[0.0] * 7, 1) + name + b"\0" + bytes(8))
    with pytest.raises(CamerasError, match=r"images\.bin: "):
        read_cameras(tmp_path)


@pytest.mark.parametrize("name", ["/x.jpg", "../x.jpg"])
def test_databases(tmp_path: Path, name: str) -> None:
    path = tmp_path / "database.db"
    with open_database(path) as database:
        params = [500, 500, 320, 240]
        camera = database.write_camera(pycolmap.Camera(model="PINHOLE", width=640, height=480, params=params))
        database.write_image(pycolmap.Image(name="a.jpg", camera_id=camera))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE images SET name = ?", (name,))
        connection.commit()
    with pytest.raises(DatabaseError, match=r"database\.db: "):
        read_existing(path)
    with pytest.raises(CamerasError, match=r"database\.db: "):
        read_cameras(path)


def test_benchmarks() -> None:
    with pytest.raises(EvaluateError, match="absolute path"):
        number_pairs([("a.jpg", "b.jpg"), ("/a.jpg", "b.jpg")], Path("test.npz"))


@pytest.mark.slow
def test_a_hundred_hostile_names(tmp_path: Path) -> None:
    """Pairs files and matches files: a name is clean, or refused with one line; nothing is written outside."""
    generator = np.random.default_rng(7)
    parts = ["..", "...", ".", "a", "b.jpg", "", " ", "C:", "\\..", "\x1b[2J", "é", "#", "'", "~", "-rf", "x" * 300]
    tried = failed = 0
    outside = tmp_path / "deep" / "er"
    outside.mkdir(parents=True)
    for number in range(100):
        name = "/".join(generator.choice(parts, generator.integers(1, 5)).tolist())
        tried += 1
        (outside / "pairs.txt").write_text(f'"{name}"\t"z.jpg"\n', encoding="utf-8")
        try:
            read_pairs(outside / "pairs.txt")
        except PairsError as error:
            failed += "\n" in str(error)
        path = outside / "m.h5"
        try:
            matches_with(path, (name, "z.jpg"))
            export_matches(ExportOptions(path, outside / "out", list(FORMATS)[number % 4], overwrite=True))
        except (AstrError, ValueError, KeyError) as error:
            failed += not isinstance(error, AstrError) and "unable" not in str(error).lower()
        failed += {each.name for each in tmp_path.iterdir()} != {"deep"}
    print(f"hostile names: {tried} tried, {failed} failed")
    assert failed == 0
