"""Keypoints and matches into a COLMAP database, after those that it holds, in one transaction.

astr appends its own: an existing keypoint keeps its index, a match its place. Data from an earlier astr import is
removed first, so a database always holds the data of other origin and the last import.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.database.atomic import mark_resumable, read_only
from astr_cli.sfm.database.contents import COLUMNS
from astr_cli.sfm.database.pair_ids import pair_id, pair_images

TABLES = """
CREATE TABLE IF NOT EXISTS astr_import (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS astr_keypoints (image_id INTEGER PRIMARY KEY, first INTEGER NOT NULL, rows INTEGER NOT NULL)
"""


def write_points(
    database: Path,
    ids: Sequence[int],
    keypoints: Sequence[NDArray[np.float32]],
    pairs: NDArray[np.int32],
    matches: Sequence[NDArray[np.uint32]],
    only_ours: bool = False,
    notes: Mapping[str, str] | None = None,
    key: str = "",
) -> None:
    """Writes the keypoints of N images, (K, 2) in ORIGINAL pixels with (0, 0) the first pixel's centre, and the (M, 2)
    matches of P pairs of them. COLMAP's origin is that pixel's corner: 0.5 is added.

    ids: COLMAP's of the images. matches: a list, or anything that makes them one by one, equal each time. only_ours:
    delete matches and geometries of other origin. notes: facts for the next import. key: as in `new_database`.
    Geometries of the written pairs are deleted, as they must be verified again with all of their matches.

    Raises ValueError, before anything is written, for a match to a missing keypoint: COLMAP would read beyond
    the end of its array.
    """
    for (image0, image1), rows in zip(pairs, matches, strict=True):
        check_matches(rows, len(keypoints[image0]), len(keypoints[image1]))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in TABLES.split(";"):
            connection.execute(statement)
        connection.execute("BEGIN IMMEDIATE")
        _remove_ours(connection)
        if only_ours:
            connection.execute("DELETE FROM matches")
            connection.execute("DELETE FROM two_view_geometries")
        first = {
            number: _append_keypoints(connection, number, points) for number, points in zip(ids, keypoints, strict=True)
        }
        for (image0, image1), rows in zip(pairs, matches, strict=True):
            _append_matches(connection, ids[image0], ids[image1], rows, first)
        connection.executemany("INSERT INTO astr_import VALUES (?, ?)", (notes or {}).items())
        if key:
            mark_resumable(connection, key)
        connection.execute("COMMIT")


def extend_points(
    database: Path,
    keypoints: Mapping[int, NDArray[np.float32]],
    matches: Mapping[tuple[int, int], NDArray[np.uint32]],
    key: str,
) -> None:
    """Adds keypoints by image id and the matches of new pairs of ids to those of the last import; coordinates and key
    as for `write_points`. Matches count existing keypoints too.

    Raises ValueError for a match to a missing keypoint; then nothing is written.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in TABLES.split(";"):
            connection.execute(statement)
        connection.execute("BEGIN IMMEDIATE")
        for number, points in keypoints.items():
            _append_keypoints(connection, number, points)
        rows = dict(connection.execute("SELECT image_id, rows FROM keypoints"))
        for (id0, id1), found in matches.items():
            check_matches(found, rows[id0], rows[id1])
            _append_matches(connection, id0, id1, found, {id0: 0, id1: 0})
        mark_resumable(connection, key)
        connection.execute("COMMIT")


def read_points(database: Path) -> dict[str, NDArray[np.float32]]:
    """The keypoints (K, 2) of all images that have some, by name, in ORIGINAL pixels with (0, 0) the first pixel's
    centre, of a checked database that is not open elsewhere.
    """
    query = "SELECT name, keypoints.rows, cols, data FROM keypoints JOIN images USING (image_id) WHERE keypoints.rows"
    with closing(read_only(database)) as connection:
        return {
            name: np.frombuffer(data, "<f4").reshape(rows, columns)[:, :2] - np.float32(0.5)
            for name, rows, columns, data in connection.execute(query)
        }


def check_matches(matches: NDArray[np.uint32], rows0: int, rows1: int) -> None:
    """Raises ValueError unless `matches` is (M, 2) uint32 with indices below the two keypoint counts."""
    if matches.ndim != 2 or matches.shape[1] != 2 or matches.dtype != np.uint32:
        raise ValueError(f"expected matches of shape (M, 2) and type uint32, got {matches.shape} {matches.dtype}")
    if len(matches) and (matches.max(0) >= (rows0, rows1)).any():
        worst = matches.max(0)
        raise ValueError(f"match index {worst[0]}, {worst[1]} beyond the {rows0}, {rows1} keypoints of its images")


def clear_geometries(database: Path, pairs: Iterable[int]) -> None:
    """Drops the geometries of these pair ids, so that they are verified again."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executemany("DELETE FROM two_view_geometries WHERE pair_id = ?", ((pair,) for pair in pairs))
        connection.commit()


def write_notes(database: Path, notes: Mapping[str, str], key: str = "") -> None:
    """Adds to the notes of the last import, or changes them."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executemany("INSERT OR REPLACE INTO astr_import VALUES (?, ?)", notes.items())
        if key:
            mark_resumable(connection, key)
        connection.commit()


def _remove_ours(connection: sqlite3.Connection) -> None:
    """Removes the data of the last import, and with it the geometries of its pairs."""
    # Where keypoints were extracted again since then, none of astr's are left.
    first = dict(
        connection.execute(
            "SELECT image_id, first FROM astr_keypoints JOIN keypoints USING (image_id) "
            "WHERE astr_keypoints.rows > 0 AND keypoints.rows = first + astr_keypoints.rows"
        )
    )
    for number, start in first.items():
        _cut(connection, "keypoints", number, start)
        _cut(connection, "descriptors", number, start)
    for (pair,) in connection.execute("SELECT pair_id FROM matches").fetchall():
        limits = [first.get(image, np.iinfo(np.int64).max) for image in pair_images(pair)]
        if all(image not in first for image in pair_images(pair)):
            continue
        (data,) = connection.execute("SELECT data FROM matches WHERE pair_id = ?", (pair,)).fetchone()
        rows = np.frombuffer(data or b"", "<u4").reshape(-1, 2)
        theirs = rows[(rows < limits).all(1)]
        if len(theirs) < len(rows):
            _write_matches(connection, pair, theirs)
    connection.execute("DELETE FROM astr_keypoints")
    connection.execute("DELETE FROM astr_import")


def _cut(connection: sqlite3.Connection, table: str, number: int, rows: int) -> None:
    """Keeps only the first `rows` rows of an array, or deletes it."""
    found = connection.execute(f"SELECT rows, data FROM {table} WHERE image_id = ?", (number,)).fetchone()
    if found is None or found[0] <= rows:
        return
    if rows:
        data = found[1][: len(found[1]) // found[0] * rows]
        connection.execute(f"UPDATE {table} SET rows = ?, data = ? WHERE image_id = ?", (rows, data, number))
    else:
        connection.execute(f"DELETE FROM {table} WHERE image_id = ?", (number,))


def _append_keypoints(connection: sqlite3.Connection, number: int, points: NDArray[np.float32]) -> int:
    """Adds (K, 2) keypoints of an image; returns the index of the first of them."""
    found = connection.execute("SELECT rows, cols, data FROM keypoints WHERE image_id = ?", (number,)).fetchone()
    rows, columns, data = found if found is not None and found[0] else (0, COLUMNS[0], b"")
    new = np.zeros((len(points), columns), "<f4")
    new[:, :2] = np.asarray(points, np.float32) + np.float32(0.5)
    # Scale 1 and orientation 0, or the shape of a circle: astr's points have neither, and mapping needs neither.
    if columns > 2:
        new[:, 2] = 1
    if columns == 6:
        new[:, 5] = 1
    connection.execute(
        "INSERT OR REPLACE INTO keypoints (image_id, rows, cols, data) VALUES (?, ?, ?, ?)",
        (number, rows + len(points), columns, data + new.tobytes()),
    )
    _pad_descriptors(connection, number, rows, len(points))
    connection.execute(
        "INSERT INTO astr_keypoints VALUES (?, ?, ?) "
        "ON CONFLICT (image_id) DO UPDATE SET rows = astr_keypoints.rows + excluded.rows",
        (number, rows, len(points)),
    )
    return int(rows)


def _pad_descriptors(connection: sqlite3.Connection, number: int, rows: int, more: int) -> None:
    """Appends descriptors of zeros, which match nothing: COLMAP needs one per keypoint where there are any."""
    found = connection.execute("SELECT rows, cols, data FROM descriptors WHERE image_id = ?", (number,)).fetchone()
    if found is not None and found[0] == rows > 0:
        data = found[2] + bytes(found[1] * more)
        connection.execute("UPDATE descriptors SET rows = ?, data = ? WHERE image_id = ?", (rows + more, data, number))


def _append_matches(
    connection: sqlite3.Connection, id0: int, id1: int, rows: NDArray[np.uint32], first: Mapping[int, int]
) -> None:
    if not len(rows):
        return  # an empty list would keep other matchers from the pair
    pair = pair_id(id0, id1)
    ours = rows + np.array([first[id0], first[id1]], np.uint32)
    if id0 > id1:
        ours = ours[:, ::-1]
    found = connection.execute("SELECT data FROM matches WHERE pair_id = ?", (pair,)).fetchone()
    theirs = np.frombuffer((found[0] if found else None) or b"", "<u4").reshape(-1, 2)
    _write_matches(connection, pair, np.concatenate([theirs, ours]))


def _write_matches(connection: sqlite3.Connection, pair: int, rows: NDArray[np.uint32]) -> None:
    """Replaces the matches of a pair and deletes its geometry; without rows, deletes the pair."""
    if len(rows):
        connection.execute(
            "INSERT OR REPLACE INTO matches (pair_id, rows, cols, data) VALUES (?, ?, 2, ?)",
            (pair, len(rows), np.ascontiguousarray(rows, "<u4").tobytes()),
        )
    else:
        connection.execute("DELETE FROM matches WHERE pair_id = ?", (pair,))
    connection.execute("DELETE FROM two_view_geometries WHERE pair_id = ?", (pair,))
