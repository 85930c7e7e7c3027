"""Damaged files of every kind: `astr check` says one line, or what it found, and nothing ever dies of them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astr_cli.options.files import ExportOptions
from astr_cli.sfm.checks.check import Inspector
from astr_cli.sfm.checks.report import FileReport
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.exports.export import export_matches
from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.pair_matches import pair_matches

FILES = ("matches.h5", "hloc/features.h5", "hloc/matches.h5", "imc/keypoints.h5", "imc/matches.h5", "database.db")


@pytest.fixture(scope="module")
def folder(scene: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole files of every kind."""
    folder = tmp_path_factory.mktemp("fuzz")
    scene.write(folder / "matches.h5")
    for form in ("hloc", "imc"):
        export_matches(ExportOptions(folder / "matches.h5", folder / form, form))
    write_database(folder / "database.db", scene)
    return folder


def write_database(path: Path, scene: Any) -> None:
    rows = scene.rows()
    tracks = build_tracks(rows)
    with closing(pycolmap.Database.open(path)) as database:
        parameters = {"model": "SIMPLE_PINHOLE", "width": 512, "height": 384, "params": [480.0, 256.0, 192.0]}
        camera = database.write_camera(pycolmap.Camera(**parameters))
        for number, name in enumerate(scene.names):
            image = database.write_image(pycolmap.Image(name=name, camera_id=camera))
            database.write_keypoints(image, tracks.of_image(number) + np.float32(0.5))
        for (image0, image1), matches in zip(rows.pairs.tolist(), pair_matches(tracks, rows), strict=True):
            database.write_matches(image0 + 1, image1 + 1, matches)


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """One process for all, until a file kills it."""
    with Inspector(patience=60) as inspector:
        yield inspector


def inspect(inspector: Inspector, path: Path, folder: Path) -> FileReport:
    """The report, which must be printable whatever the file holds; a bug of ours raises here."""
    report = inspector.inspect(path, [folder / name for name in FILES if "keypoints" in name or "features" in name])
    texts = [finding.text for finding in report.findings]
    assert all(text.isprintable() for text in [*texts, report.unreadable or ""])
    return report


@st.composite
def damage(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with bits flipped, parts overwritten, or its end cut off; heads are hit most."""
    data = bytearray(content)
    kind = draw(st.sampled_from(["flip", "head", "cut", "zero", "junk", "swap"]))
    places = st.integers(0, len(data) - 1)
    if kind == "cut":
        return bytes(data[: draw(places)])
    if kind in ("flip", "head"):
        where = places if kind == "flip" else st.integers(0, min(len(data), 4096) - 1)
        for at in draw(st.lists(where, min_size=1, max_size=8)):
            data[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == "swap":
        first, second = draw(places), draw(places)
        data[first : first + 32], data[second : second + 32] = data[second : second + 32], data[first : first + 32]
    else:
        at = draw(places)
        size = draw(st.sampled_from([1, 8, 64, 512]))
        data[at : at + size] = (bytes(size) if kind == "zero" else draw(st.binary(min_size=size, max_size=size)))[
            : len(data) - at
        ]
    return bytes(data)


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_clean(name: str, folder: Path, inspector: Inspector) -> None:
    report = inspect(inspector, folder / name, folder)
    assert report.unreadable is None
    assert not report.found


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes(name: str, folder: Path, inspector: Inspector, tmp_path: Path) -> None:
    content = (folder / name).read_bytes()
    broken = tmp_path / f"broken{Path(name).suffix}"
    seen = []

    @settings(max_examples=120, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damage(content))
    def mutate(data: bytes) -> None:
        broken.write_bytes(data)
        seen.append(inspect(inspector, broken, folder))

    mutate()
    assert len(seen) >= 100
    assert sum(report.unreadable is not None for report in seen) >= 10


ARRAYS = st.sampled_from(
    [
        np.zeros((0,), np.float32),
        np.zeros((3, 3, 3), np.int8),
        np.array(7),
        np.full((5, 2), np.inf),
        np.array([[0, -1], [1 << 40, 5]], np.int64),
        np.full(40, (1 << 64) - 1, np.uint64),
        np.array([b"text", b"more"]),
        np.zeros(4, np.dtype([("x", "f4"), ("y", "i8")])),
        np.full((9, 2), 1 + 2j),
        np.array([True, False]),
        h5py.Empty("f4"),
    ]
)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".h5")])
def test_whole_hdf5_with_odd_content(name: str, folder: Path, inspector: Inspector, tmp_path: Path) -> None:
    """Every dataset may be of any shape and type, be missing, or be a group."""
    content = (folder / name).read_bytes()
    odd = tmp_path / "odd.h5"
    paths: list[str] = []
    with h5py.File(folder / name) as file:
        file.visititems(lambda path, item: paths.append(path) if isinstance(item, h5py.Dataset) else None)

    @settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(paths), st.one_of(ARRAYS, st.none(), st.just("group")))
    def mutate(path: str, value: Any) -> None:
        odd.write_bytes(content)
        with h5py.File(odd, "r+") as file:
            del file[path]
            if value is not None:
                file[path] = h5py.SoftLink("/") if isinstance(value, str) else value
        inspect(inspector, odd, folder)

    mutate()


CELLS = st.sampled_from(["NULL", "-1", "0", "7", "1.5", "9223372036854775807", "'text'", "X'00ff'", "X''", "-2.5e300"])
COLUMNS = st.sampled_from(
    [
        *((table, column) for table in ("matches", "keypoints") for column in ("rows", "cols", "data")),
        *(("images", column) for column in ("name", "camera_id")),
        *(("cameras", column) for column in ("width", "height", "params")),
    ]
)


def test_whole_databases_with_odd_content(folder: Path, inspector: Inspector, tmp_path: Path) -> None:
    content = (folder / "database.db").read_bytes()
    odd = tmp_path / "odd.db"

    @settings(max_examples=120, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(COLUMNS, CELLS), min_size=1, max_size=3))
    def mutate(changes: list[tuple[tuple[str, str], str]]) -> None:
        odd.write_bytes(content)
        with closing(sqlite3.connect(odd)) as connection:
            for (table, column), value in changes:
                where = f"rowid = (SELECT min(rowid) FROM {table})"
                connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {where}")
            connection.commit()
        for side in ("-wal", "-shm"):
            odd.with_name(odd.name + side).unlink(missing_ok=True)
        inspect(inspector, odd, folder)

    mutate()
