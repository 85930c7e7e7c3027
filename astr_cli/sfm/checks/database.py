"""The checks of a COLMAP database (docs/formats.md, COLMAP databases), by SQLite alone: COLMAP itself rewrites what it
opens, and dies of bad indices.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.checks.frames import check_frames, columns_of
from astr_cli.sfm.checks.graph import PairCount, check_graph, check_names
from astr_cli.sfm.checks.points import check_indices, check_keypoints, judge, report_suspicion
from astr_cli.sfm.checks.report import FileReport, Findings, UnreadableError, names_of
from astr_cli.sfm.database.pair_ids import MOST_IMAGES, pair_images
from astr_cli.sfm.repeats.finding import find_repeats
from astr_cli.wording import first_line

NEEDED = ("images", "cameras", "keypoints", "matches", "two_view_geometries")
CONFIGS = range(10)
COLUMNS = (2, 4, 6)  # of keypoints
REPEATS = 60  # photos up to which repeats are looked for: a minute; the time grows with their cube
MAPPED_FROM = 15  # inliers; COLMAP's mapper skips pairs with fewer


class Images(NamedTuple):
    """The images' names, sizes and keypoint counts, by id."""

    names: dict[int, str]
    sizes: dict[int, tuple[int, int]]  # (w, h) of its camera
    rows: dict[int, int]  # keypoints

    def shown(self, number: int) -> str:
        """The name, or the id of a missing image."""
        return self.names.get(number, f"image {number}")


def check_database(path: Path, alive: Callable[[], None]) -> FileReport:
    """Checks one database; nothing is changed. Raises UnreadableError."""
    found = Findings()
    # SQLite calls `alive` regularly, so a long integrity check does not count as a hang.
    with closing(_open(path, found)) as connection:
        connection.set_progress_handler(alive, 1_000_000)
        try:
            return _check(path, connection, found, alive)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:  # the last: of SQLite's own message
            raise UnreadableError(f"damaged ({first_line(error)})") from None


def _open(path: Path, found: Findings) -> sqlite3.Connection:
    wal = path.with_name(f"{path.name}-wal")
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists() and journal.stat().st_size > 0:
        raise UnreadableError(
            f"half written: another program is writing it, or was killed; open it there again ({journal.name} then "
            "goes), or start astr colmap-import, which undoes what is half done"
        )
    pending = wal.exists() and wal.stat().st_size > 0
    if pending:
        found.add("warning", "open-database", f"close the database in other programs to write {wal.name} into it")
    try:
        # immutable: no lock and no side files; wrong only where changes are pending.
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{'' if pending else '&immutable=1'}", uri=True)
    except sqlite3.Error as error:
        raise UnreadableError(f"cannot be opened ({first_line(error)})") from None
    connection.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
    return connection


def _check(path: Path, connection: sqlite3.Connection, found: Findings, alive: Callable[[], None]) -> FileReport:
    tables = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = [name for name in NEEDED if name not in tables]
    if missing:
        raise UnreadableError(f"is not a COLMAP database (it lacks the table {missing[0]})")
    problem = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if problem != "ok":
        found.add("error", "damaged", problem)
    images = _images(connection, found)
    _check_keypoints(connection, images, found)
    check_frames(connection, tables, images.names, found)
    matched = _check_pairs(connection, images, found, "matches")
    verified = _check_pairs(connection, images, found, "two_view_geometries")
    _check_configs(connection, images, found)
    check_names(found, images.names.values(), "note")
    # Once there are geometries, COLMAP maps by them alone.
    pairs, joins = (verified, MAPPED_FROM) if verified else (matched, 1)
    check_graph(found, images.names.values(), pairs, "note", joins)
    if verified and all(pair.matches < MAPPED_FROM for pair in verified):
        found.add("warning", "not-mappable")
    matches = sum(pair.matches for pair in matched or verified)
    repeats = () if any(each.level == "error" for each in found.list()) else _repeats(connection, images, found, alive)
    counts = len(images.names), len(matched or verified), matches
    return FileReport(str(path), "COLMAP database", *counts, found.list(), repeats=repeats)


def _repeats(
    connection: sqlite3.Connection, images: Images, found: Findings, alive: Callable[[], None]
) -> tuple[tuple[str, str, str], ...]:
    """By the matches alone. The database has passed the other checks."""
    if len(images.names) > REPEATS:
        return ()
    wrong = find_repeats(connection, None, alive)
    named = tuple((images.shown(pair.image0), images.shown(pair.image1), pair.reason) for pair in wrong)
    for name0, name1, reason in named:
        found.add("note", "repeats", f"{names_of(name0, name1)}: {reason}")
    return named


def _images(connection: sqlite3.Connection, found: Findings) -> Images:
    sizes = {}
    for number, width, height in connection.execute("SELECT camera_id, width, height FROM cameras"):
        if _whole(number, width, height) and width > 0 and height > 0:
            sizes[number] = (width, height)
        else:
            found.add("error", "bad-array", f"camera {number} is {width}x{height}")
    names: dict[int, str] = {}
    cameras = {}
    seen = set()
    for number, name, camera in connection.execute("SELECT image_id, name, camera_id FROM images"):
        if not _whole(number) or not isinstance(name, str) or not 0 < number < MOST_IMAGES:
            found.add("error", "damaged", f"image {number} is named {name}")
            continue
        if name in seen:
            found.add("error", "name-collision", f"{name} twice")
        seen.add(name)
        names[number] = name
        if camera in sizes:
            cameras[number] = sizes[camera]
        else:
            found.add("error", "missing-camera", f"{name}: camera {camera} is missing")
    return Images(names, cameras, {})


def _check_keypoints(connection: sqlite3.Connection, images: Images, found: Findings) -> None:
    for number, rows, columns, data in connection.execute("SELECT image_id, rows, cols, data FROM keypoints"):
        name = images.shown(number)
        if number not in images.names:
            found.add("error", "unknown-image", f"keypoints of {name}")
            continue
        points = _array(data, rows, columns, "<f4")
        if points is None or columns not in COLUMNS:
            found.add("error", "bad-array", f"keypoints of {name}: {_size(data)} for {rows} x {columns}")
            continue
        images.rows[number] = len(points)
        if check_keypoints(found, name, points):
            report_suspicion(found, name, judge(points, images.sizes.get(number), "corner"))
    if not columns_of(connection, "descriptors"):
        return
    for number, rows in connection.execute("SELECT image_id, rows FROM descriptors"):
        known = images.rows.get(number, 0)
        if rows != known:
            found.add("warning", "row-mismatch", f"{images.shown(number)}: {known} keypoints, {rows} descriptors")


def _check_pairs(connection: sqlite3.Connection, images: Images, found: Findings, table: str) -> list[PairCount]:
    """Checks one of the two tables of pairs; returns the number of matches per pair."""
    counted = []
    for pair_id, rows, columns, data in connection.execute(f"SELECT pair_id, rows, cols, data FROM {table}"):
        ids = _pair(pair_id)
        if ids is None:
            found.add("error", "damaged", f"{table} has the pair {pair_id}")
            continue
        pair = (images.shown(ids[0]), images.shown(ids[1]))
        shown = f"{names_of(*pair)} in {table}"
        for number, name in zip(ids, pair, strict=True):
            if number not in images.names:
                found.add("error", "unknown-image", f"{name} in {table}")
        if ids[0] > ids[1]:
            found.add("error", "swapped-pair", shown)
        matches = np.zeros((0, 2), np.uint32) if rows == 0 else _array(data, rows, columns, "<u4")
        if matches is None or (len(matches) and columns != 2):
            found.add("error", "bad-array", f"{shown}: {_size(data)} for {rows} x {columns}")
            continue
        check_indices(found, shown, matches, images.rows.get(ids[0], 0), images.rows.get(ids[1], 0))
        counted.append(PairCount(*pair, len(matches)))
    return counted


def _check_configs(connection: sqlite3.Connection, images: Images, found: Findings) -> None:
    for pair_id, rows, config in connection.execute("SELECT pair_id, rows, config FROM two_view_geometries"):
        ids = _pair(pair_id)
        shown = str(pair_id) if ids is None else names_of(*map(images.shown, ids))
        if not _whole(config) or config not in CONFIGS:
            found.add("error", "bad-array", f"{shown}: configuration {config}")
        elif config == 0 and rows:
            found.add("error", "config-0", f"{shown} ({rows} inliers)")
        elif config == 0:
            found.add("note", "config-empty", shown)


def _pair(pair_id: Any) -> tuple[int, int] | None:
    if not _whole(pair_id) or pair_id <= 0:
        return None
    return pair_images(pair_id)


def _array(data: Any, rows: Any, columns: Any, form: str) -> NDArray[Any] | None:
    """The (rows, columns) array that a blob holds, or None when its length is another."""
    data = b"" if data is None else data
    if not _whole(rows, columns) or not isinstance(data, bytes) or rows < 0 or columns < 1:
        return None
    kind = np.dtype(form)
    return np.frombuffer(data, kind).reshape(rows, columns) if len(data) == rows * columns * kind.itemsize else None


def _whole(*values: Any) -> bool:
    """Whether all are integers: SQLite keeps any type in any column."""
    return all(isinstance(value, int) for value in values)


def _size(data: Any) -> str:
    return f"{len(data or b'')} bytes" if data is None or isinstance(data, bytes) else type(data).__name__
