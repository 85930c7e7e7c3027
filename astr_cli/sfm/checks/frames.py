"""Rigs, frames and pose priors of a COLMAP database: whether everything they refer to exists."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from astr_cli.sfm.checks.report import Findings

CAMERA = 0  # COLMAP's number of that type of sensor


def check_frames(connection: sqlite3.Connection, tables: set[str], names: Mapping[int, str], found: Findings) -> None:
    """Notes images without a frame, and frames, rigs and priors that refer to something missing.

    COLMAP 4 makes trivial rigs for a database without any frame, and stops at one where some images have none.
    """
    if not {"rigs", "frames", "frame_data"} <= tables:
        found.add("note", "old-database")
    else:
        rigs = {rig for (rig,) in connection.execute("SELECT rig_id FROM rigs")}
        frames = dict(connection.execute("SELECT frame_id, rig_id FROM frames"))
        for frame, rig in frames.items():
            if rig not in rigs:
                found.add("error", "missing-camera", f"frame {frame} refers to rig {rig}, which is missing")
        _check_frame_data(connection, frames, names, found)
        _check_rigs(connection, tables, found)
    _check_priors(connection, names, found)


def columns_of(connection: sqlite3.Connection, table: str) -> set[str]:
    """The names of a table's columns; none where there is no such table."""
    return {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")}


def _check_frame_data(
    connection: sqlite3.Connection, frames: Mapping[int, int], names: Mapping[int, str], found: Findings
) -> None:
    framed = set()
    query = "SELECT frame_id, data_id FROM frame_data WHERE sensor_type = ?"
    for frame, image in connection.execute(query, (CAMERA,)):
        if image not in names:
            found.add("error", "missing-camera", f"frame {frame} refers to image {image}, which is missing")
        elif frame not in frames:
            found.add("error", "missing-frame", f"{names[image]}: frame {frame} is missing")
        framed.add(image)
    if not frames and names:
        found.add("note", "old-database")
        return
    for image, name in names.items():
        if image not in framed:
            found.add("error", "missing-frame", name)


def _check_rigs(connection: sqlite3.Connection, tables: set[str], found: Findings) -> None:
    cameras = {camera for (camera,) in connection.execute("SELECT camera_id FROM cameras")}
    sensors = list(connection.execute("SELECT rig_id, ref_sensor_id FROM rigs WHERE ref_sensor_type = ?", (CAMERA,)))
    if "rig_sensors" in tables:
        query = "SELECT rig_id, sensor_id FROM rig_sensors WHERE sensor_type = ?"
        sensors += list(connection.execute(query, (CAMERA,)))
    for rig, camera in sensors:
        if camera not in cameras:
            found.add("error", "missing-camera", f"rig {rig}: camera {camera} is missing")


def _check_priors(connection: sqlite3.Connection, names: Mapping[int, str], found: Findings) -> None:
    columns = columns_of(connection, "pose_priors")
    if "corr_data_id" in columns:
        query = f"SELECT corr_data_id FROM pose_priors WHERE corr_sensor_type = {CAMERA}"
    elif "image_id" in columns:
        query = "SELECT image_id FROM pose_priors"
    else:
        return
    for (image,) in connection.execute(query):
        if image not in names:
            found.add("warning", "missing-camera", f"a pose prior refers to image {image}, which is missing")
