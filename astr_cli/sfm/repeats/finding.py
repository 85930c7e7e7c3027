"""Names the wrong pairs of a database, and takes them out of a copy that is to be mapped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from astr_cli.sfm.database.pair_ids import pair_id
from astr_cli.sfm.repeats.differences import difference_shares
from astr_cli.sfm.repeats.holes import hole_shares
from astr_cli.sfm.repeats.judging import WrongPair, judge
from astr_cli.sfm.repeats.looks import small_photo
from astr_cli.sfm.repeats.pairs import verified_pairs

NAMED = 10  # pairs that are told; the summary has all


class Repeat(NamedTuple):
    """A pair that repeated structure misled."""

    name0: str
    name1: str
    left_out: bool
    """Whether the model was mapped without it."""
    reason: str


def find_repeats(connection: sqlite3.Connection, photos: Path | None, alive: Callable[[], None]) -> list[WrongPair]:
    """The wrong pairs of a database that has passed the other checks, by number.

    photos: their folder, looked at only where matches contradict each other; None: judged by the matches alone. alive:
    called regularly.
    """
    pairs = verified_pairs(connection)
    wrong = judge(pairs, hole_shares(pairs), alive)
    if not wrong or photos is None:
        return wrong
    names = dict(connection.execute("SELECT image_id, name FROM images"))
    small = {}
    for image in sorted({image for pair in pairs for image in (pair.image0, pair.image1)}):
        alive()
        small[image] = small_photo(photos / names[image])
    if any(photo is None for photo in small.values()):
        return wrong
    pictures = {image: photo for image, photo in small.items() if photo is not None}
    return judge(pairs, difference_shares(pairs, pictures, alive), alive)


def check_repeats(
    database: Path, photos: Path, drop: bool, tell: Callable[[str], None], alive: Callable[[], None]
) -> tuple[Repeat, ...]:
    """Tells the wrong pairs, those with most contradictions first; drop: their geometries are removed, so COLMAP does
    not see them.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        wrong = find_repeats(connection, photos, alive)
        names = dict(connection.execute("SELECT image_id, name FROM images"))
        if drop:
            numbers = [(pair_id(pair.image0, pair.image1),) for pair in wrong]
            connection.executemany("DELETE FROM two_view_geometries WHERE pair_id = ?", numbers)
    wrong.sort(key=lambda pair: -pair.elsewhere)
    found = []
    for pair in wrong:
        name0, name1 = sorted((names[pair.image0], names[pair.image1]))
        found.append(Repeat(name0, name1, drop, pair.reason))
    for line in repeat_lines(found):
        tell(line)
    return tuple(found)


def repeat_lines(found: Sequence[Repeat]) -> list[str]:
    """The first pairs, one line each."""
    if not found:
        return []
    what = "1 pair was" if len(found) == 1 else f"{len(found)} pairs were"
    kept = "left out" if found[0].left_out else "kept; --repeats drop maps without them"
    lines = [f"{what} misled by repeated structure, {kept}:"]
    lines += [f"  {each.name0} - {each.name1}: {each.reason}" for each in found[:NAMED]]
    return lines + ([f"  and {len(found) - NAMED} more, which summary.json names"] if len(found) > NAMED else [])
