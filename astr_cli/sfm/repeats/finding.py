"""Names the wrong pairs of a database, and takes them and other wrong matches out of a copy that is to be mapped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from astr_cli.sfm.database.pair_ids import pair_id
from astr_cli.sfm.repeats.differences import difference_doubts
from astr_cli.sfm.repeats.holes import hole_doubts
from astr_cli.sfm.repeats.judging import MisledPair, any_misled, judge
from astr_cli.sfm.repeats.looks import Picture, small_photo
from astr_cli.sfm.repeats.pairs import VerifiedPair, verified_pairs
from astr_cli.sfm.repeats.parts import coherent_parts
from astr_cli.wording import counted

NAMED = 10  # pairs that are told; the summary has all


class Repeat(NamedTuple):
    """A pair that repeated structure misled."""

    name0: str
    name1: str
    left_out: bool
    """Whether the model was mapped without it."""
    reason: str


def find_repeats(connection: sqlite3.Connection, photos: Path | None, alive: Callable[[], None]) -> list[MisledPair]:
    """The misled pairs of a database that has passed the other checks, by number; none if no pair is surely wrong.

    photos: their folder, looked at only where pairs contradict each other; None: judged by the matches alone. alive:
    called regularly.
    """
    pairs = verified_pairs(connection)
    if not any_misled(pairs, hole_doubts(pairs), alive):
        return []
    parts = coherent_parts(pairs)
    shown = [part.shown for part in parts]
    pictures = {} if photos is None else _small_photos(connection, photos, pairs, alive)
    doubts = difference_doubts(shown, pictures, alive) if pictures else hole_doubts(shown)
    misled = judge(pairs, parts, doubts, alive)
    return misled if any(pair.surely for pair in misled) else []


def _small_photos(
    connection: sqlite3.Connection, photos: Path, pairs: Sequence[VerifiedPair], alive: Callable[[], None]
) -> dict[int, Picture]:
    """The photos of all pairs, by number; none if one cannot be read."""
    names = dict(connection.execute("SELECT image_id, name FROM images"))
    small = {}
    for image in sorted({image for pair in pairs for image in (pair.image0, pair.image1)}):
        alive()
        photo = small_photo(photos / names[image])
        if photo is None:
            return {}
        small[image] = photo
    return small


def check_repeats(
    database: Path, photos: Path, drop: bool, tell: Callable[[str], None], alive: Callable[[], None]
) -> tuple[Repeat, ...]:
    """Tells the wrong pairs, those with most contradictions first; drop: their geometries are removed, and the wrong
    matches of the other pairs, so COLMAP does not see them.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        misled = find_repeats(connection, photos, alive)
        names = dict(connection.execute("SELECT image_id, name FROM images"))
        if drop:
            _leave_out(connection, misled)
    found = []
    for pair in sorted((pair for pair in misled if pair.wrong), key=lambda pair: -pair.elsewhere):
        name0, name1 = sorted((names[pair.image0], names[pair.image1]))
        found.append(Repeat(name0, name1, drop, pair.reason))
    for line in repeat_lines(found, [pair.elsewhere for pair in misled if not pair.wrong]):
        tell(line)
    return tuple(found)


def _leave_out(connection: sqlite3.Connection, misled: Sequence[MisledPair]) -> None:
    for pair in misled:
        number = pair_id(pair.image0, pair.image1)
        if not pair.enough:
            connection.execute("DELETE FROM two_view_geometries WHERE pair_id = ?", (number,))
            continue
        query = "SELECT data FROM two_view_geometries WHERE pair_id = ?"
        (data,) = connection.execute(query, (number,)).fetchone()
        kept = np.frombuffer(data, "<u4").reshape(-1, 2)[pair.kept]
        change = "UPDATE two_view_geometries SET rows = ?, data = ? WHERE pair_id = ?"
        connection.execute(change, (len(kept), kept.tobytes(), number))


def repeat_lines(found: Sequence[Repeat], astray: Sequence[int]) -> list[str]:
    """The first pairs, one line each, and how many matches of each other pair went astray."""
    if not found:
        return []
    what = "1 pair was" if len(found) == 1 else f"{len(found)} pairs were"
    kept = "left out" if found[0].left_out else "kept; --repeats drop maps without them"
    lines = [f"{what} misled by repeated structure, {kept}:"]
    lines += [f"  {each.name0} - {each.name1}: {each.reason}" for each in found[:NAMED]]
    if len(found) > NAMED:
        lines.append(f"  and {len(found) - NAMED} more, which summary.json names")
    if astray:
        lines.append(f"  and {counted(sum(astray), 'match')} of {counted(len(astray), 'other pair')}")
    return lines
