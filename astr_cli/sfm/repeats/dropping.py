"""Names wrong pairs of a database, and takes them out of a copy that is to be mapped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from astr_cli.sfm.repeats.judging import wrong_pairs
from astr_cli.sfm.repeats.pairs import PAIR_BASE
from astr_cli.wording import counted


def check_repeats(database: Path, drop: bool, tell: Callable[[str], None]) -> None:
    """Tells the wrong pairs, one line each; drop: their geometries are removed, so COLMAP does not see them."""
    with closing(sqlite3.connect(database)) as connection, connection:
        names = dict(connection.execute("SELECT image_id, name FROM images"))
        wrong = wrong_pairs(connection)
        if wrong:
            tell(f"{counted(len(wrong), 'pair')} misled by repeats, {'left out' if drop else 'kept'}:")
        for pair in wrong:
            reason = (
                f"contradicted by {counted(pair.against, 'triplet')}" if pair.against else "lacks details of its photos"
            )
            tell(f"  {names[pair.image0]} - {names[pair.image1]}: {reason}")
        if drop:
            numbers = [(pair.image0 * PAIR_BASE + pair.image1,) for pair in wrong]
            connection.executemany("DELETE FROM two_view_geometries WHERE pair_id = ?", numbers)
