"""What a page shows of the pairs: figures of all, and the matches of some."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.report.sources import Sources
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.contents import pair_id
from astr_cli.sfm.database.verification import MIN_INLIERS
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import StoredPair

MOST_PAIRS = 2000  # drawn, half of them the weakest and half the strongest
MOST_MATCHES = 200  # of a drawn pair
HELD = 256  # photos whose keypoints stay in memory
UNKNOWN = 2  # whether a match is verified: 0, 1 or this

Floats = NDArray[np.float64]


class Pair(NamedTuple):
    """Two photos with matches."""

    name0: str
    name1: str
    matches: int
    inliers: int | None
    """0: the pair did not pass verification; None: it was not verified yet."""
    agreeing: float | None = None
    """Share of the inliers that agree with the model; None: unknown."""


class DrawnMatches(NamedTuple):
    """Some matches of a pair, in raw pixels, the centre of the top-left pixel at (0, 0)."""

    places0: Floats
    """(M, 2)."""
    places1: Floats
    verified: NDArray[np.uint8]
    """(M,) 0: rejected, 1: verified, 2: not known."""


def list_pairs(sources: Sources) -> tuple[Pair, ...]:
    """Every pair with matches, by names: of summary.json, else of the database, else of matches.h5."""
    if sources.summary is not None:
        return tuple(
            Pair(row["name0"], row["name1"], row["matches"], row["inliers"], row["agreeing"])
            for row in sources.summary["image_pairs"]
        )
    if sources.database is not None:
        return tuple(sorted(_database_pairs(sources.database)))
    if sources.matches is None:
        return ()
    with MatchesFile(sources.matches) as file:
        counts = ((pair, file.count(pair.name0, pair.name1)) for pair in file.pairs())
        return tuple(Pair(pair.name0, pair.name1, count, None) for pair, count in counts if count)


def _database_pairs(database: Path) -> Iterator[Pair]:
    query = (
        "SELECT name0.name, name1.name, matches.rows, config, COALESCE(two_view_geometries.rows, 0) "
        "FROM matches LEFT JOIN two_view_geometries USING (pair_id) "
        "JOIN images AS name0 ON name0.image_id = pair_id / 2147483647 "
        "JOIN images AS name1 ON name1.image_id = pair_id % 2147483647 WHERE matches.rows > 0"
    )
    with closing(read_only(database)) as connection:
        for first, second, matches, config, inliers in connection.execute(query):
            good = config is not None and config > 1 and inliers >= MIN_INLIERS
            name0, name1 = sorted((str(first), str(second)))
            yield Pair(name0, name1, matches, None if config is None else inliers if good else 0)


def drawn_pairs(pairs: tuple[Pair, ...]) -> list[int]:
    """The numbers of the pairs to draw: all, or the weakest and the strongest."""
    order = sorted(range(len(pairs)), key=lambda row: (pairs[row].inliers or 0, pairs[row].matches))
    if len(order) <= MOST_PAIRS:
        return order
    return order[: MOST_PAIRS // 2] + order[-(MOST_PAIRS // 2) :]


def read_drawn(sources: Sources, pairs: list[Pair]) -> Iterator[DrawnMatches | None]:
    """Matches of each pair, verified and rejected in the shares that they have; None: not on disk."""
    if sources.database is not None:
        with closing(read_only(sources.database)) as connection:
            yield from _of_database(connection, pairs)
    elif sources.matches is not None:
        with MatchesFile(sources.matches) as file:
            stored = {frozenset((pair.name0, pair.name1)): pair for pair in file.pairs()}
            for pair in pairs:
                yield _of_file(file, stored.get(frozenset((pair.name0, pair.name1))), pair)
    else:
        yield from (None for _ in pairs)


def _of_file(file: MatchesFile, stored: StoredPair | None, pair: Pair) -> DrawnMatches | None:
    if stored is None:
        return None
    matches = file.read(stored.name0, stored.name1)
    if stored.name0 != pair.name0:
        matches = matches.swapped()
    rows = _some(len(matches), MOST_MATCHES)
    ends0, ends1 = matches.keypoints0[rows].astype(np.float64), matches.keypoints1[rows].astype(np.float64)
    return DrawnMatches(ends0, ends1, np.full(len(rows), UNKNOWN, np.uint8))


def _of_database(connection: sqlite3.Connection, pairs: list[Pair]) -> Iterator[DrawnMatches | None]:
    numbers: dict[str, int] = {name: number for number, name in connection.execute("SELECT image_id, name FROM images")}

    @lru_cache(HELD)
    def keypoints(number: int) -> Floats:
        """(K, 2); COLMAP counts from a pixel's corner."""
        query = "SELECT rows, data FROM keypoints WHERE image_id = ?"
        rows, data = connection.execute(query, (number,)).fetchone()
        return np.frombuffer(data, "<f4").reshape(rows, -1)[:, :2].astype(np.float64) - 0.5

    for pair in pairs:
        if pair.name0 not in numbers or pair.name1 not in numbers:
            yield None
            continue
        image0, image1 = numbers[pair.name0], numbers[pair.name1]
        key = pair_id(image0, image1)
        matches = _indices(connection, "matches", key)
        good = _indices(connection, "two_view_geometries", key) if pair.inliers else matches[:0]
        verified = np.isin(_keys(matches), _keys(good))
        rows = _shares(verified)
        ends = matches[rows] if image0 < image1 else matches[rows][:, ::-1]
        told = verified[rows].astype(np.uint8) if pair.inliers is not None else np.full(len(rows), UNKNOWN, np.uint8)
        yield DrawnMatches(keypoints(image0)[ends[:, 0]], keypoints(image1)[ends[:, 1]], told)


def _indices(connection: sqlite3.Connection, table: str, key: int) -> NDArray[np.int64]:
    row: Any = connection.execute(f"SELECT data FROM {table} WHERE pair_id = ?", (key,)).fetchone()
    data = row[0] if row is not None and row[0] is not None else b""
    return np.frombuffer(data, "<u4").reshape(-1, 2).astype(np.int64)


def _keys(matches: NDArray[np.int64]) -> NDArray[np.int64]:
    """(M,) one number per match."""
    return matches[:, 0] << 32 | matches[:, 1]


def _shares(verified: NDArray[np.bool_]) -> NDArray[np.int64]:
    """At most MOST_MATCHES rows, of verified and rejected ones in their shares."""
    good, bad = np.flatnonzero(verified), np.flatnonzero(~verified)
    if len(verified) <= MOST_MATCHES:
        return np.concatenate([good, bad])
    most = round(MOST_MATCHES * len(good) / len(verified))
    return np.concatenate([good[_some(len(good), most)], bad[_some(len(bad), MOST_MATCHES - most)]])


def _some(count: int, most: int) -> NDArray[np.int64]:
    """Numbers below `count`, evenly spread, at most `most`."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
