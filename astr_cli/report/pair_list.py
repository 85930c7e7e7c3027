"""What a page shows of the pairs: figures of all, and the matches of some."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from astr_cli.report.sources import Sources
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.drawn_matches import UNKNOWN, DrawnMatches, read_drawn_matches, some_rows
from astr_cli.sfm.database.pair_ids import MOST_IMAGES
from astr_cli.sfm.database.verification import MIN_INLIERS
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import StoredPair

MOST_PAIRS = 2000  # drawn, half of them the weakest and half the strongest
MOST_MATCHES = 200  # of a drawn pair


class Pair(NamedTuple):
    """Two photos with matches."""

    name0: str
    name1: str
    matches: int
    inliers: int | None
    """0: the pair did not pass verification; None: it was not verified yet."""
    agreeing: float | None = None
    """Share of the inliers that agree with the model; None: unknown."""


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
        f"JOIN images AS name0 ON name0.image_id = pair_id / {MOST_IMAGES} "
        f"JOIN images AS name1 ON name1.image_id = pair_id % {MOST_IMAGES} WHERE matches.rows > 0"
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
        names = [(pair.name0, pair.name1) for pair in pairs]
        yield from read_drawn_matches(sources.database, names, MOST_MATCHES)
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
    rows = some_rows(len(matches), MOST_MATCHES)
    ends0, ends1 = matches.keypoints0[rows].astype(np.float64), matches.keypoints1[rows].astype(np.float64)
    return DrawnMatches(ends0, ends1, np.full(len(rows), UNKNOWN, np.uint8))
