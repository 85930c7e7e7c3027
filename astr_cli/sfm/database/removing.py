"""Images out of a COLMAP database that astr made; all others keep their numbers, keypoints, matches and geometries."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from astr_cli.sfm.database.pair_ids import pair_images

CAMERA = 0  # COLMAP's type of sensor
OWNED = ("keypoints", "descriptors", "astr_keypoints", "images")  # tables with a row per image
UNUSED = """
DELETE FROM frames WHERE frame_id NOT IN (SELECT frame_id FROM frame_data);
DELETE FROM rig_sensors WHERE rig_id NOT IN (SELECT rig_id FROM frames);
DELETE FROM rigs WHERE rig_id NOT IN (SELECT rig_id FROM frames);
DELETE FROM cameras WHERE camera_id NOT IN (
    SELECT camera_id FROM images UNION SELECT sensor_id FROM rig_sensors UNION SELECT ref_sensor_id FROM rigs)
"""


def remove_images(database: Path, numbers: Collection[int]) -> None:
    """Deletes images by number with their rows in all tables, and the frames, rigs and cameras that only they used."""
    gone = [(number,) for number in sorted(numbers)]
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table in ("matches", "two_view_geometries"):
            pairs = [pair for (pair,) in connection.execute(f"SELECT pair_id FROM {table}")]
            lost = [(pair,) for pair in pairs if not set(pair_images(pair)).isdisjoint(numbers)]
            connection.executemany(f"DELETE FROM {table} WHERE pair_id = ?", lost)
        connection.executemany(f"DELETE FROM frame_data WHERE sensor_type = {CAMERA} AND data_id = ?", gone)
        connection.executemany(f"DELETE FROM pose_priors WHERE corr_sensor_type = {CAMERA} AND corr_data_id = ?", gone)
        for table in OWNED:
            connection.executemany(f"DELETE FROM {table} WHERE image_id = ?", gone)
        for statement in UNUSED.split(";"):
            connection.execute(statement)
        connection.execute("COMMIT")


def frame_mates(database: sqlite3.Connection, numbers: Collection[int]) -> dict[int, int]:
    """Images that share a frame of a rig with one of these and are not among them, each with that one."""
    rows = database.execute(
        "SELECT one.data_id, other.data_id FROM frame_data AS one JOIN frame_data AS other USING (frame_id) "
        f"WHERE one.sensor_type = {CAMERA} AND other.sensor_type = {CAMERA} ORDER BY 1, 2"
    )
    return {other: one for one, other in rows if one in numbers and other not in numbers}
