"""Databases that others made, and looks into them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from astr_cli.sfm.colmap import open_database, pycolmap, quiet
from astr_cli.sfm.tracks.build import build_tracks

KEPT_TABLES = ("cameras", "images", "rigs", "rig_sensors", "frames", "frame_data", "pose_priors")


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def execute(path: Path, sql: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql, values)
        connection.commit()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def foreign(workplace: Path, scene: Any, columns: int = 6, images: int = 6) -> Path:
    """A verified database of another detector: a fifth of the simulated surface points, with random descriptors."""
    path, random = workplace / "sift.db", np.random.default_rng(1)
    tracks = build_tracks(scene.rows())
    chosen = np.flatnonzero(tracks.lengths >= 3)[::5]
    with open_database(path):
        pass
    with quiet():
        names = list(scene.names[:images])
        pycolmap.import_images(path, workplace / "photos", pycolmap.CameraMode.SINGLE, names)
    seen = []
    with open_database(path) as database:
        ids = [database.read_image_with_name(name).image_id for name in names]
        for number, image in enumerate(ids):
            rows = np.flatnonzero((tracks.image == number) & np.isin(tracks.track, chosen))
            seen.append(tracks.track[rows])
            points = np.column_stack([tracks.keypoints[rows] + 0.5, np.ones((len(rows), columns - 2))])
            database.write_keypoints(image, points.astype(np.float32))
            values = random.integers(0, 80, (len(rows), 128)).astype(np.uint8)
            database.write_descriptors(image, pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, values))
        for a in range(images):
            for b in range(a + 1, images):
                _, rows0, rows1 = np.intersect1d(seen[a], seen[b], return_indices=True)
                database.write_matches(ids[a], ids[b], np.column_stack([rows0, rows1]).astype(np.uint32))
        prior = pycolmap.PosePrior(corr_data_id=database.read_image(ids[0]).data_id, position=[1.0, 2.0, 3.0])
        database.write_pose_prior(prior)
    with quiet():
        pycolmap.geometric_verification(path)
    execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def arrays(path: Path, table: str, key: str) -> dict[int, tuple[int, bytes]]:
    return {number: (rows, data) for number, rows, data in query(path, f"SELECT {key}, rows, data FROM {table}")}


def assert_kept(before: Path, after: Path) -> None:
    """Tables as they were; arrays begin with what they were."""
    for table in KEPT_TABLES:
        assert query(after, f"SELECT * FROM {table}") == query(before, f"SELECT * FROM {table}"), table
    for table, key in (("keypoints", "image_id"), ("descriptors", "image_id"), ("matches", "pair_id")):
        new = arrays(after, table, key)
        for number, (rows, data) in arrays(before, table, key).items():
            assert rows > 0 and new[number][0] >= rows and new[number][1].startswith(data), (table, number)
