"""A database is checked before anything is written to it: COLMAP would read beyond the end of a wrong array."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.sfm.database.atomic import examine
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.database.locked import DatabaseError
from astr_cli.sfm.database.pair_ids import pair_id, pair_images

from .foreign_databases import execute, foreign


@pytest.fixture(scope="module")
def whole(scene: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound database of SIFT."""
    folder = tmp_path_factory.mktemp("existing")
    scene.write_photos(folder / "photos")
    return foreign(folder, scene).read_bytes()


def test_a_sound_one_is_read(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "db.db"
    path.write_bytes(whole)
    existing = read_existing(path)
    assert len(existing.images) == 6 and len(existing.pairs) == 15 and len(existing.framed) == 6
    assert existing.matches == existing.foreign >= 200 * 15
    assert existing.foreign_pairs == existing.pairs == existing.geometries
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE keypoints SET rows = 30, data = substr(data, 1, 720) WHERE image_id = 2",
            "refer to missing keypoints",
        ),
        ("UPDATE keypoints SET data = substr(data, 1, 719) WHERE image_id = 2", "keypoints of image 2 take 719 bytes"),
        ("UPDATE keypoints SET cols = 5 WHERE image_id = 2", "keypoints of image 2 have 5 columns"),
        ("UPDATE keypoints SET image_id = 77 WHERE image_id = 2", "keypoints of image 77, which is missing"),
        ("UPDATE descriptors SET rows = rows + 1 WHERE image_id = 3", "descriptors of image 3"),
        ("UPDATE matches SET rows = rows + 1 WHERE pair_id = 2147483649", r"matches of pair 2147483649 take \d+ bytes"),
        ("UPDATE matches SET cols = 3 WHERE pair_id = 2147483649", "have 3 columns, not 2"),
        ("UPDATE two_view_geometries SET config = 12", "has the unknown configuration 12"),
        ("UPDATE two_view_geometries SET F = X'00'", "a F of a wrong size"),
        ("UPDATE cameras SET params = X'0011'", "camera 1 is not one of COLMAP's"),
        ("UPDATE images SET camera_id = 9 WHERE image_id = 1", "has camera 9, which is missing"),
        ("DELETE FROM rigs", "has no rig"),
        ("DROP TABLE matches", "has no table matches, so it is not COLMAP's"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(
    statement: str, message: str, whole: bytes, workplace: Path, capfd: Any
) -> None:
    path = workplace / "db.db"
    path.write_bytes(whole)
    execute(path, "PRAGMA foreign_keys = OFF")
    execute(path, statement)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    content = path.read_bytes()
    with pytest.raises(DatabaseError, match=message):
        read_existing(path)
    assert run(["colmap-import", str(path), "--mode", "append"]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert path.read_bytes() == content


def test_pair_ids() -> None:
    assert pair_id(7, 3) == pair_id(3, 7) == 3 * 2147483647 + 7
    assert pair_images(pair_id(3, 7)) == (3, 7)


CELLS = st.sampled_from(["NULL", "-1", "0", "7", "1.5", "9223372036854775807", "'text'", "X'00ff'", "X''", "-2.5e300"])
TABLES = {
    "matches": ("rows", "cols", "data"),
    "keypoints": ("rows", "cols", "data"),
    "descriptors": ("rows", "cols", "data"),
    "two_view_geometries": ("rows", "cols", "data", "config", "F", "qvec"),
    "images": ("name", "camera_id"),
    "cameras": ("model", "width", "height", "params"),
    "frames": ("rig_id",),
    "frame_data": ("frame_id", "data_id", "sensor_type"),
}
COLUMNS = st.sampled_from([(table, column) for table, columns in TABLES.items() for column in columns])


def read_or_refuse(path: Path) -> bool:
    """Whether it was refused, in one printable line; anything else raises."""
    try:
        if examine(path).tables:
            read_existing(path)
    except AstrError as error:
        assert str(error).isprintable()
        return True
    return False


def test_odd_cells(whole: bytes, tmp_path: Path) -> None:
    path, refused = tmp_path / "odd.db", []

    @settings(max_examples=300, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(COLUMNS, CELLS), min_size=1, max_size=3))
    def mutate(changes: list[tuple[tuple[str, str], str]]) -> None:
        path.write_bytes(whole)
        for (table, column), value in changes:
            execute(
                path, f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE rowid = (SELECT min(rowid) FROM {table})"
            )
        for side in ("-wal", "-shm"):
            path.with_name(path.name + side).unlink(missing_ok=True)
        refused.append(read_or_refuse(path))

    mutate()
    assert len(refused) >= 300 and sum(refused) >= 100


def test_damaged_bytes(whole: bytes, tmp_path: Path) -> None:
    path, refused = tmp_path / "broken.db", []

    @settings(max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["cut", "flip", "zero"]), st.floats(0, 1), st.integers(0, 7))
    def mutate(kind: str, where: float, bit: int) -> None:
        data = bytearray(whole)
        at = int(where**3 * (len(data) - 1))  # heads are hit most
        if kind == "cut":
            data = data[:at]
        elif kind == "flip":
            data[at] ^= 1 << bit
        else:
            data[at : at + 256] = bytes(len(data[at : at + 256]))
        path.write_bytes(data)
        refused.append(read_or_refuse(path))

    mutate()
    assert len(refused) >= 200 and sum(refused) >= 20
