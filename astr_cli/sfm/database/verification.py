"""Geometric verification by COLMAP."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.matching.resources.progress import Progress
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.sfm.colmap import guided_verification, open_database, verification
from astr_cli.sfm.database.atomic import read_only

MIN_INLIERS = 15  # the fewest that COLMAP maps with
# A dense matcher returns hundreds of matches even for photos that share nothing; COLMAP's 15 inliers are found among
# that many by chance. One in ten is far above chance and below any pair that helps.
MIN_INLIER_RATIO = 0.1
SEED = 0
BATCH = 100  # pairs between two checks for Ctrl-C; finished pairs are kept
HEARD = 1.0  # seconds between two looks at how far COLMAP is


class Verified(NamedTuple):
    """The result of verification."""

    pairs: int  # with at least 15 inliers, the fewest that COLMAP maps with
    inliers: int  # of those pairs together


def verify(
    database: Path,
    pairs: Collection[int],
    model: Any = None,
    tell: Callable[[str], None] = lambda line: None,
    stop: StopFlag | None = None,
) -> None:
    """Verifies all pairs of the database that have no geometry yet.

    No written geometry is undefined (docs/formats.md, COLMAP databases). pairs: the pair ids of a dense matcher, for
    which COLMAP's minimum of inliers is too low. model: a pycolmap.Reconstruction with the database's ids, to verify by
    its poses. `tell` gets a line of progress regularly. Stopped and called again, it resumes.
    Raises Interrupted when `stop` is set.
    """
    stop = stop or StopFlag()
    before, empty = _geometries(database)
    with _progress(database, len(before), tell):
        if model is None:
            verification(database, -1, BATCH, SEED, stop)
        else:
            guided_verification(model, database, -1, BATCH, SEED, stop)
    _settle(database, pairs, before, empty)


def count_verified(database: Path, pairs: Collection[int]) -> Verified:
    """Counts those of `pairs` with a geometry to map with, in a database that is not open elsewhere."""
    wanted = set(pairs)
    with closing(read_only(database)) as connection:
        query = "SELECT pair_id, rows FROM two_view_geometries WHERE config > 1 AND rows >= ?"
        rows = [count for pair, count in connection.execute(query, (MIN_INLIERS,)) if pair in wanted]
    return Verified(len(rows), sum(rows))


def _geometries(database: Path) -> tuple[set[int], list[tuple[Any, ...]]]:
    """The pairs with a geometry, and the rows of those that have it without inliers."""
    with closing(sqlite3.connect(database)) as connection:
        pairs = {pair for (pair,) in connection.execute("SELECT pair_id FROM two_view_geometries")}
        return pairs, connection.execute("SELECT * FROM two_view_geometries WHERE rows = 0").fetchall()


def _settle(database: Path, pairs: Collection[int], before: Collection[int], empty: list[tuple[Any, ...]]) -> None:
    """Marks pairs that fail as degenerate (1): as undefined (0), COLMAP 4.2 would skip them always.

    Geometries without inliers, which COLMAP computes again every time, are put back.
    """
    with closing(sqlite3.connect(database)) as connection:
        for row in empty:
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT OR REPLACE INTO two_view_geometries VALUES ({places})", row)
        query = (
            "SELECT pair_id, config, two_view_geometries.rows, matches.rows "
            "FROM two_view_geometries JOIN matches USING (pair_id)"
        )
        ours = set(pairs)
        failed = [
            (pair,)
            for pair, config, inliers, rows in connection.execute(query)
            if (config == 0 and (pair in ours or pair not in before))
            or (pair in ours and 0 < inliers < MIN_INLIER_RATIO * rows)
        ]
        connection.executemany(
            "UPDATE two_view_geometries SET config = 1, rows = 0, data = NULL, F = NULL, E = NULL, H = NULL, "
            "qvec = NULL, tvec = NULL WHERE pair_id = ?",
            failed,
        )
        connection.commit()


@contextmanager
def _progress(database: Path, before: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Reports how many pairs are done, from a thread: COLMAP reports nothing before the end.

    It looks through COLMAP's own library, as two copies of SQLite in one process undo each other's locks.
    """
    done = threading.Event()
    with open_database(database) as opened:
        total = opened.num_matched_image_pairs()

        def watch() -> None:
            progress = Progress(tell, "verifying", total, "pair", before)
            while not done.wait(HEARD):
                progress.at(opened.num_verified_image_pairs())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
