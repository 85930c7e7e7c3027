"""Matches of a pair in a COLMAP database, with their verification, to be drawn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.pair_ids import pair_id
from astr_cli.sfm.database.verification import MIN_INLIERS

HELD = 256  # photos whose keypoints stay in memory
UNKNOWN = 2  # whether a match is verified: 0, 1 or this

Floats = NDArray[np.float64]


class DrawnMatches(NamedTuple):
    """Some matches of a pair, in raw pixels, the centre of the top-left pixel at (0, 0)."""

    places0: Floats
    """(M, 2)."""
    places1: Floats
    verified: NDArray[np.uint8]
    """(M,) 0: rejected, 1: verified, 2: not known."""


def read_drawn_matches(database: Path, pairs: Iterable[tuple[str, str]], most: int) -> Iterator[DrawnMatches | None]:
    """At most `most` matches of each pair of names, verified and rejected in their shares; None: an unknown photo.

    The database must not be open elsewhere.
    """
    with closing(read_only(database)) as connection:
        numbers: dict[str, int] = {
            name: number for number, name in connection.execute("SELECT image_id, name FROM images")
        }

        @lru_cache(HELD)
        def keypoints(number: int) -> Floats:
            """(K, 2); COLMAP counts from a pixel's corner."""
            query = "SELECT rows, data FROM keypoints WHERE image_id = ?"
            rows, data = connection.execute(query, (number,)).fetchone()
            return np.frombuffer(data, "<f4").reshape(rows, -1)[:, :2].astype(np.float64) - 0.5

        for name0, name1 in pairs:
            if name0 not in numbers or name1 not in numbers:
                yield None
                continue
            image0, image1 = numbers[name0], numbers[name1]
            matches, told = _some_matches(connection, pair_id(image0, image1), most)
            ends = matches if image0 < image1 else matches[:, ::-1]
            yield DrawnMatches(keypoints(image0)[ends[:, 0]], keypoints(image1)[ends[:, 1]], told)


def _some_matches(connection: sqlite3.Connection, key: int, most: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """(M, 2) indices of keypoints, and (M,) as in `DrawnMatches`."""
    matches = _indices(connection, "matches", key)
    query = "SELECT config, rows FROM two_view_geometries WHERE pair_id = ?"
    geometry = connection.execute(query, (key,)).fetchone()
    if geometry is None:
        rows = some_rows(len(matches), most)
        return matches[rows], np.full(len(rows), UNKNOWN, np.uint8)
    passed = geometry[0] > 1 and geometry[1] >= MIN_INLIERS
    good = _indices(connection, "two_view_geometries", key) if passed else matches[:0]
    verified = np.isin(_keys(matches), _keys(good))
    rows = _shares(verified, most)
    return matches[rows], verified[rows].astype(np.uint8)


def _indices(connection: sqlite3.Connection, table: str, key: int) -> NDArray[np.int64]:
    row: Any = connection.execute(f"SELECT data FROM {table} WHERE pair_id = ?", (key,)).fetchone()
    data = row[0] if row is not None and row[0] is not None else b""
    return np.frombuffer(data, "<u4").reshape(-1, 2).astype(np.int64)


def _keys(matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """(M,) one number per match."""
    return matches[:, 0] << 32 | matches[:, 1]


def _shares(verified: NDArray[np.bool_], limit: int) -> NDArray[np.int64]:
    """At most `limit` rows, of verified and rejected ones in their shares."""
    good, bad = np.flatnonzero(verified), np.flatnonzero(~verified)
    if len(verified) <= limit:
        return np.concatenate([good, bad])
    most = round(limit * len(good) / len(verified))
    return np.concatenate([good[some_rows(len(good), most)], bad[some_rows(len(bad), limit - most)]])


def some_rows(count: int, most: int) -> NDArray[np.int64]:
    """Numbers below `count`, evenly spread, at most `most`."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
