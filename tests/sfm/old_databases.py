"""Databases as scripts for COLMAP 3.5 to 3.7 wrote them: no rigs, gaps and large numbers, NULL arrays."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from astr_cli.sfm.database.pair_ids import pair_id

GEOMETRY = {3500: "", 3600: ", F BLOB, E BLOB, H BLOB", 3700: ", F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB"}
TABLES = """
CREATE TABLE cameras (camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, model INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, params BLOB, prior_focal_length INTEGER NOT NULL);
CREATE TABLE images (image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL UNIQUE,
    camera_id INTEGER NOT NULL, prior_qw REAL, prior_qx REAL, prior_qy REAL, prior_qz REAL, prior_tx REAL,
    prior_ty REAL, prior_tz REAL, CONSTRAINT image_id_check CHECK(image_id >= 0 and image_id < 2147483647),
    FOREIGN KEY(camera_id) REFERENCES cameras(camera_id));
CREATE TABLE keypoints (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
    data BLOB, FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE descriptors (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
    data BLOB, FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE matches (pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB);
CREATE TABLE two_view_geometries (pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL,
    cols INTEGER NOT NULL, data BLOB, config INTEGER NOT NULL{geometry});
CREATE UNIQUE INDEX index_name ON images(name);
PRAGMA user_version = {version};
"""
NUMBERS = (3, 10, 77, 500, 2000000000, 2147483646)


def old_database(path: Path, version: int, names: Sequence[str], size: tuple[int, int]) -> Path:
    """One camera, up to six images, the last without keypoints; matches between the first two."""
    numbers, random = NUMBERS[: len(names)], np.random.default_rng(0)
    matches = np.column_stack([np.arange(20), np.arange(20)]).astype("<u4").tobytes()
    more = GEOMETRY[version].count("BLOB")
    places = ", ".join("?" * (5 + more))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES.format(geometry=GEOMETRY[version], version=version))
        params = np.array([480, size[0] / 2, size[1] / 2, 0.0]).tobytes()
        connection.execute("INSERT INTO cameras VALUES (7, 2, ?, ?, ?, 0)", (*size, params))
        for number, name in zip(numbers, names, strict=True):
            connection.execute("INSERT INTO images (image_id, name, camera_id) VALUES (?, ?, 7)", (number, name))
            rows = 40 if number != numbers[-1] else 0
            points = np.ones((rows, 6), "<f4")
            points[:, :2] = random.uniform(1, 300, (rows, 2))
            data = (points.tobytes(), bytes(rows * 128)) if rows else (None, None)
            connection.execute("INSERT INTO keypoints VALUES (?, ?, 6, ?)", (number, rows, data[0]))
            connection.execute("INSERT INTO descriptors VALUES (?, ?, 128, ?)", (number, rows, data[1]))
        first, empty = pair_id(*numbers[:2]), pair_id(numbers[0], numbers[2])
        connection.execute("INSERT INTO matches VALUES (?, 20, 2, ?)", (first, matches))
        connection.execute("INSERT INTO matches VALUES (?, 0, 2, NULL)", (empty,))
        connection.execute("INSERT INTO matches VALUES (?, 0, 0, NULL)", (pair_id(numbers[1], numbers[-1]),))
        matrix = [np.eye(3).tobytes()][:more] + [None] * (more - 1)
        connection.execute(f"INSERT INTO two_view_geometries VALUES ({places})", (first, 20, 2, matches, 3, *matrix))
        row = (empty, 0, 0, None, 1, *[None] * more)
        connection.execute(f"INSERT INTO two_view_geometries VALUES ({places})", row)
        connection.commit()
    return path
