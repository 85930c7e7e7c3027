"""The content of a COLMAP database, every array checked: COLMAP itself reads beyond the end of a wrong one."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.names import NameProblem, require_name
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.locked import UNREADABLE, DatabaseError
from astr_cli.sfm.database.pair_ids import MOST_IMAGES, pair_images
from astr_cli.store.camera_models import MODELS

COLUMNS = (2, 4, 6)  # of keypoints: x, y; scale, orientation; or an affine shape
CONFIGS = range(10)
MATRICES = {"F": 72, "E": 72, "H": 72, "qvec": 32, "tvec": 24}  # bytes


class StoredImage(NamedTuple):
    """One image of a database."""

    number: int
    camera: int
    size: tuple[int, int]


class StoredPoints(NamedTuple):
    """Keypoints of one image."""

    rows: int
    first: int  # those from here on are of astr's last import; = rows without one
    ours: int  # how many keypoints astr's last import wrote; others may follow


@dataclass(frozen=True, eq=False)
class Existing:
    """The content of a database, without its arrays."""

    images: dict[str, StoredImage]
    points: dict[int, StoredPoints]  # image id -> its keypoints
    matches: int
    foreign: int  # keypoints of other origin than astr's last import
    pairs: frozenset[int]  # pair ids in the table of matches
    filled_pairs: frozenset[int]  # those with at least one
    foreign_pairs: frozenset[int]  # those with matches of other origin
    our_pairs: frozenset[int]  # those with matches of astr's last import
    geometries: frozenset[int]  # pair ids with a geometry
    framed: frozenset[int]  # ids of images that belong to a frame
    notes: dict[str, str]  # the notes of astr's last import


NONE: frozenset[int] = frozenset()
NOTHING = Existing({}, {}, 0, 0, NONE, NONE, NONE, NONE, NONE, NONE, {})


def read_existing(path: Path) -> Existing:
    """Reads and checks a database that is not open elsewhere; nothing in it changes.

    Raises DatabaseError: not COLMAP's, damaged, an array of a wrong size, an index beyond the keypoints.
    """
    try:
        with closing(read_only(path)) as connection:
            return _read(connection)
    except (*UNREADABLE, OverflowError, MemoryError) as error:
        raise DatabaseError(f"{path}: not a readable COLMAP database ({error}); choose another name") from None
    except _Wrong as error:
        raise DatabaseError(f"{path}: {error}; astr wrote nothing: repair the database or make it again") from None


def largest_error(path: Path) -> float | None:
    """How far, in photo pixels, a keypoint may lie from the reprojection of its point, as the import of refined tracks
    noted it; None: COLMAP's 4. The database is not open elsewhere.
    """
    with closing(read_only(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'astr_import'").fetchone():
            return None
        note = connection.execute("SELECT value FROM astr_import WHERE name = 'largest_error'").fetchone()
    return None if note is None else float(note[0])


class _Wrong(Exception):
    """The problem, without the file's name."""


def _need(good: bool, what: str) -> None:
    if not good:
        raise _Wrong(what)


def _read(connection: sqlite3.Connection) -> Existing:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = {"cameras", "images", "keypoints", "matches", "two_view_geometries"} - tables
    _need(not missing, f"has no table {', '.join(sorted(missing))}, so it is not COLMAP's")
    images = _images(connection, _cameras(connection))
    numbers = {image.number for image in images.values()}
    notes = dict(connection.execute("SELECT name, value FROM astr_import")) if "astr_import" in tables else {}
    points = _points(connection, numbers, "astr_keypoints" in tables)
    if "descriptors" in tables:
        _check_descriptors(connection, numbers)
    matches = _matches(connection, points, "matches")
    geometries = _matches(connection, points, "two_view_geometries")
    _check_geometries(connection)
    framed = _framed(connection, numbers) if {"frames", "frame_data", "rigs"} <= tables else frozenset()
    return Existing(
        images,
        points,
        sum(rows for rows, _ in matches.values()),
        sum(foreign for _, foreign in matches.values()),
        frozenset(matches),
        frozenset(pair for pair, (rows, _) in matches.items() if rows),
        frozenset(pair for pair, (_, foreign) in matches.items() if foreign),
        frozenset(pair for pair, (rows, foreign) in matches.items() if rows > foreign),
        frozenset(geometries),
        framed,
        notes,
    )


def _whole(*values: Any) -> bool:
    return all(isinstance(value, int) and value >= 0 for value in values)


def _cameras(connection: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    parameters = {model.number: model.params for model in MODELS.values()}
    sizes = {}
    for number, model, width, height, params in connection.execute(
        "SELECT camera_id, model, width, height, params FROM cameras"
    ):
        good = model in parameters and _whole(width, height) and isinstance(params, bytes)
        good = good and width * height > 0 and len(params) == 8 * parameters[model]
        _need(good and all(map(math.isfinite, np.frombuffer(params))), f"camera {number} is not one of COLMAP's")
        sizes[number] = (width, height)
    return sizes


def _images(connection: sqlite3.Connection, sizes: dict[int, tuple[int, int]]) -> dict[str, StoredImage]:
    images = {}
    for number, name, camera in connection.execute("SELECT image_id, name, camera_id FROM images"):
        _need(_whole(number) and 0 < number < MOST_IMAGES, f"image number {number} is out of range")
        _need(isinstance(name, str) and bool(name), f"image {number} has no name")
        _need(camera in sizes, f"image {name} has camera {camera}, which is missing")
        try:
            require_name(name)
        except NameProblem as problem:
            raise _Wrong(str(problem)) from None
        images[name] = StoredImage(number, camera, sizes[camera])
    return images


def _points(connection: sqlite3.Connection, numbers: set[int], ours: bool) -> dict[int, StoredPoints]:
    query = "SELECT image_id, first, rows FROM astr_keypoints WHERE rows > 0"
    marks = {number: mark for number, *mark in connection.execute(query)} if ours else {}
    points = {}
    for number, rows, columns, size in connection.execute(
        "SELECT image_id, rows, cols, COALESCE(LENGTH(data), 0) FROM keypoints"
    ):
        _need(number in numbers, f"keypoints of image {number}, which is missing")
        _need(_whole(rows, columns), f"keypoints of image {number}: {rows} rows of {columns}")
        _need(columns in COLUMNS or not rows, f"keypoints of image {number} have {columns} columns, not 2, 4 or 6")
        _need(size == 4 * rows * columns, f"keypoints of image {number} take {size} bytes, not {4 * rows * columns}")
        first, more = marks.get(number, (rows, 0))
        _need(_whole(first, more), f"astr's mark of image {number} is {first}, {more}")
        points[number] = StoredPoints(rows, first, more) if first + more <= rows else StoredPoints(rows, rows, 0)
    return points


def _check_descriptors(connection: sqlite3.Connection, numbers: set[int]) -> None:
    for number, rows, columns, size in connection.execute(
        "SELECT image_id, rows, cols, COALESCE(LENGTH(data), 0) FROM descriptors"
    ):
        _need(number in numbers, f"descriptors of image {number}, which is missing")
        good = _whole(rows, columns) and size == rows * columns
        _need(good, f"descriptors of image {number}: {rows} rows of {columns} bytes in {size}")


def _matches(connection: sqlite3.Connection, points: dict[int, StoredPoints], table: str) -> dict[int, tuple[int, int]]:
    """Pair id -> its number of rows, and how many of them are not from astr's last import."""
    pairs = {}
    none = StoredPoints(0, 0, 0)
    for pair, rows, columns, data in connection.execute(f"SELECT pair_id, rows, cols, data FROM {table}"):
        what = f"{table} of pair {pair}"
        _need(_whole(pair, rows, columns), f"{what}: {rows} rows of {columns}")
        data = data if data is not None else b""
        _need(isinstance(data, bytes) and (columns == 2 or not rows), f"{what} have {columns} columns, not 2")
        _need(len(data) == 8 * rows, f"{what} take {len(data)} bytes, not {8 * rows}")
        foreign = 0
        if rows:
            ends = [points.get(image, none) for image in pair_images(pair)]
            found = np.frombuffer(data, "<u4").reshape(-1, 2)
            _need(bool((found.max(0) < [end.rows for end in ends]).all()), f"{what} refer to missing keypoints")
            foreign = int((found < [end.first for end in ends]).all(1).sum())
        pairs[pair] = (rows, foreign)
    return pairs


def _check_geometries(connection: sqlite3.Connection) -> None:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(two_view_geometries)")} & set(MATRICES)
    lengths = "".join(f", LENGTH({name})" for name in sorted(columns))
    for pair, config, *sizes in connection.execute(f"SELECT pair_id, config{lengths} FROM two_view_geometries"):
        _need(config in CONFIGS, f"the geometry of pair {pair} has the unknown configuration {config}")
        wrong = [name for name, size in zip(sorted(columns), sizes, strict=True) if size not in (None, MATRICES[name])]
        _need(not wrong, f"the geometry of pair {pair} has a {''.join(wrong[:1])} of a wrong size")


def _framed(connection: sqlite3.Connection, numbers: set[int]) -> frozenset[int]:
    """The images that belong to a frame; every frame must have a rig."""
    rigs = {number for (number,) in connection.execute("SELECT rig_id FROM rigs")}
    frames = dict(connection.execute("SELECT frame_id, rig_id FROM frames"))
    lost = next((frame for frame, rig in frames.items() if rig not in rigs), None)
    _need(lost is None, f"frame {lost} has no rig")
    framed = set()
    for frame, image in _camera_data(connection):
        _need(frame in frames and image in numbers, f"frame {frame} has image {image}; one of them is missing")
        framed.add(image)
    return frozenset(framed)


def _camera_data(connection: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    return connection.execute("SELECT frame_id, data_id FROM frame_data WHERE sensor_type = 0")
