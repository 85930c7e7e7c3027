"""`astr check` on COLMAP databases, and that it changes nothing in them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from astr_cli.sfm.checks.report import FileReport
from astr_cli.sfm.checks.worker import inspect
from astr_cli.sfm.colmap import pycolmap

PAIR = 2147483647


def check(path: Path) -> FileReport:
    return FileReport.from_record(inspect(str(path), [], lambda: None))


def levels(report: FileReport) -> dict[str, str]:
    return {finding.check: finding.level for finding in report.findings}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Three images of one camera with trivial frames, 100 keypoints each, pairs 1-2 and 2-3 verified; by pycolmap."""
    path = tmp_path / "my database.db"
    matches = np.column_stack([np.arange(60), np.arange(60)]).astype(np.uint32)
    geometry = pycolmap.TwoViewGeometry()
    geometry.config = pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED
    geometry.inlier_matches = matches[:40]
    with closing(pycolmap.Database.open(path)) as opened:
        camera = opened.write_camera(
            pycolmap.Camera(model="SIMPLE_PINHOLE", width=640, height=480, params=[500.0, 320.0, 240.0])
        )
        sensor = pycolmap.sensor_t(pycolmap.SensorType.CAMERA, camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(sensor)
        rig_id = opened.write_rig(rig)
        for name in ("a.jpg", "x/b.jpg", "c.jpg"):
            image = opened.write_image(pycolmap.Image(name=name, camera_id=camera))
            frame = pycolmap.Frame()
            frame.rig_id = rig_id
            frame.add_data_id(pycolmap.data_t(sensor, image))
            opened.write_frame(frame)
            random = np.random.default_rng(image)
            opened.write_keypoints(image, (random.random((100, 2)) * (640, 480)).astype(np.float32))
        for pair in ((1, 2), (2, 3)):
            opened.write_matches(*pair, matches)
            opened.write_two_view_geometry(*pair, geometry)
    return path


def change(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def blob(array: np.ndarray) -> str:
    return f"X'{array.tobytes().hex()}'"


def test_a_good_one_is_clean_and_untouched(database: Path) -> None:
    before, files = database.read_bytes(), sorted(database.parent.iterdir())
    report = check(database)
    assert (report.kind, report.images, report.pairs, report.matches) == ("COLMAP database", 3, 2, 120)
    assert levels(report) == {"articulation": "note"}
    assert database.read_bytes() == before
    assert sorted(database.parent.iterdir()) == files


WHOLE = np.random.default_rng(0).integers(5, 470, (100, 2)).astype(np.float32)
EDGE = np.where(np.arange(100)[:, None] == 7, -0.25, WHOLE + 0.3).astype(np.float32)
MATCHES = np.column_stack([np.arange(60), np.arange(60)]).astype(np.uint32)


def with_row(row: tuple[int, int]) -> str:
    """The matches of 1-2 with one more row."""
    data = blob(np.vstack([MATCHES, np.array([row], np.uint32)]))
    return f"UPDATE matches SET rows = 61, data = {data} WHERE pair_id = {PAIR + 2}"


@pytest.mark.parametrize(
    ("statement", "expected", "example"),
    [
        (with_row((100, 3)), "index-range", "a.jpg - x/b.jpg in matches: index 100, keypoints 100"),
        (with_row((3, 500_000_000)), "index-range", "index 500000000, keypoints 100"),
        (with_row((3, 3)), "repeated-match", "a.jpg - x/b.jpg in matches"),
        ("UPDATE matches SET rows = 59", "bad-array", "480 bytes for 59 x 2"),
        ("UPDATE matches SET cols = 3, rows = 40", "bad-array", "480 bytes for 40 x 3"),
        ("UPDATE matches SET data = 'text'", "bad-array", "str for 60 x 2"),
        (f"UPDATE matches SET pair_id = {2 * PAIR + 1} WHERE pair_id = {PAIR + 2}", "swapped-pair", "x/b.jpg - a.jpg"),
        (f"UPDATE matches SET pair_id = {PAIR + 9} WHERE pair_id = {PAIR + 2}", "unknown-image", "image 9 in matches"),
        ("UPDATE matches SET pair_id = -5 WHERE rowid IN (SELECT min(rowid) FROM matches)", "damaged", "the pair -5"),
        ("UPDATE two_view_geometries SET config = 0", "config-0", "a.jpg - x/b.jpg (40 inliers)"),
        ("UPDATE two_view_geometries SET config = 12", "bad-array", "configuration 12"),
        ("DELETE FROM frame_data WHERE data_id = 3", "missing-frame", "c.jpg"),
        ("DELETE FROM frames WHERE frame_id = 2", "missing-frame", "x/b.jpg: frame 2 is missing"),
        ("DELETE FROM rigs", "missing-camera", "frame 1 refers to rig 1"),
        ("UPDATE images SET camera_id = 7 WHERE image_id = 1", "missing-camera", "a.jpg: camera 7 is missing"),
        ("UPDATE rigs SET ref_sensor_id = 7", "missing-camera", "rig 1: camera 7 is missing"),
        ("DELETE FROM images WHERE image_id = 3", "unknown-image", "image 3"),
        ("UPDATE keypoints SET data = NULL WHERE image_id = 1", "bad-array", "0 bytes for 100 x 2"),
        ("UPDATE keypoints SET rows = 50, cols = 4 WHERE image_id = 1", "index-range", "index 59, keypoints 50"),
        ("UPDATE keypoints SET rows = 200, cols = 1 WHERE image_id = 1", "bad-array", "800 bytes for 200 x 1"),
        (f"UPDATE keypoints SET data = {blob(WHOLE * np.nan)} WHERE image_id = 1", "bad-array", "not all finite"),
        (f"UPDATE keypoints SET data = {blob(WHOLE)} WHERE image_id = 1", "half-pixel", "a.jpg"),
        (f"UPDATE keypoints SET data = {blob(EDGE)} WHERE image_id = 1", "half-pixel", "a.jpg"),
        (f"UPDATE keypoints SET data = {blob(WHOLE + 200.3)} WHERE image_id = 1", "outside", "a.jpg ("),
        ("INSERT INTO descriptors VALUES (2, 0, 99, 128, X'00')", "row-mismatch", "x/b.jpg: 100 keypoints, 99 descr"),
        ("INSERT INTO images VALUES (9, 'd.jpg', 1)", "orphan-image", "d.jpg"),
        ("UPDATE cameras SET width = 0", "bad-array", "camera 1 is 0x480"),
        ("INSERT INTO pose_priors VALUES (1, 77, 1, 0, NULL, NULL, NULL, 0)", "missing-camera", "image 77"),
    ],
)
def test_what_is_wrong_is_found(statement: str, expected: str, example: str, database: Path) -> None:
    report = check(change(database, statement))
    finding = next(finding for finding in report.findings if finding.check == expected)
    assert any(example in shown for shown in finding.examples), finding
    assert finding.level != "note"


def test_what_is_only_noted(database: Path) -> None:
    change(
        database,
        f"UPDATE two_view_geometries SET config = 0, rows = 0, data = NULL WHERE pair_id = {PAIR + 2}",
        "DELETE FROM rigs",
        "DELETE FROM frames",
        "DELETE FROM frame_data",
        "UPDATE images SET name = 'x-b.jpg' WHERE image_id = 3",
    )
    report = check(database)
    assert levels(report) == {
        "name-collision": "note",
        "orphan-image": "warning",
        "empty-pair": "note",
        "old-database": "note",
        "config-empty": "note",
    }


def test_pairs_are_joined_by_what_colmap_maps_with(database: Path) -> None:
    """14 inliers are not enough for its mapper; without any geometry, the matches count."""
    few = f"UPDATE two_view_geometries SET rows = 14, data = {blob(MATCHES[:14])} WHERE pair_id = {PAIR + 2}"
    found = {finding.check: finding.examples for finding in check(change(database, few)).findings}
    assert found == {"orphan-image": ("a.jpg",)}
    assert levels(check(change(database, "DELETE FROM two_view_geometries"))) == {"articulation": "note"}


def test_a_database_that_nothing_can_be_mapped_from(database: Path) -> None:
    """Matches do not join images whose pairs all failed."""
    failed = "UPDATE two_view_geometries SET config = 1, rows = 0, data = NULL"
    found = {finding.check: finding for finding in check(change(database, failed)).findings}
    assert set(found) == {"not-mappable", "orphan-image", "empty-pair"}
    assert (found["not-mappable"].level, found["orphan-image"].count) == ("warning", 3)
    few = f"UPDATE two_view_geometries SET config = 3, rows = 14, data = {blob(MATCHES[:14])}"
    assert levels(check(change(database, few))) == {"not-mappable": "warning", "orphan-image": "warning"}


def test_duplicates_by_both_orders(database: Path) -> None:
    copy = f"INSERT INTO matches SELECT {2 * PAIR + 1}, rows, cols, data FROM matches WHERE pair_id = {PAIR + 2}"
    report = check(change(database, copy, "DELETE FROM two_view_geometries"))
    assert levels(report) == {"duplicate-pair": "error", "swapped-pair": "error", "articulation": "note"}


def test_changes_in_the_side_file_are_seen_and_said(database: Path) -> None:
    with closing(sqlite3.connect(database)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO images VALUES (9, 'd.jpg', 1)")
        writer.commit()
        report = check(database)
    assert report.images == 4
    assert levels(report)["open-database"] == "warning"


def test_other_databases_and_old_ones(tmp_path: Path, database: Path) -> None:
    change(tmp_path / "other.db", "CREATE TABLE t (x)")
    assert check(tmp_path / "other.db").unreadable == "is not a COLMAP database (it lacks the table images)"
    change(database, "DROP TABLE frame_data", "DROP TABLE frames", "DROP TABLE rig_sensors", "DROP TABLE rigs")
    change(database, "DROP TABLE pose_priors", "DROP TABLE descriptors")
    assert levels(check(database)) == {"articulation": "note", "old-database": "note"}
