"""Drawings of the pairs of a database: verified matches beside rejected ones."""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.drawing import DrawingFolder, draw_matches
from astr_cli.images.errors import ImageError
from astr_cli.matching.plots import HELD, MOST, SmallPhoto, photo_title
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.drawn_matches import DrawnMatches, read_drawn_matches
from astr_cli.sfm.database.pair_ids import pair_images

COLOURS = np.array([(40, 40, 220), (60, 190, 60), (0, 190, 230)], np.uint8)  # BGR: rejected, verified, not verified yet
MATCHES = 2000  # of a pair


def draw_verified(database: Path, images: Path, target: DrawingFolder) -> int:
    """Draws every pair with matches, or evenly spaced ones, photos standing upright; rejected matches lie below.

    The database must not be open elsewhere. Raises AstrError when a drawing cannot be written; skips pairs whose
    photos are missing. Returns the number of drawings.
    """

    @lru_cache(HELD)
    def photo(name: str) -> SmallPhoto:
        return SmallPhoto.read(images, name)

    sizes, pairs = _sizes(database), _pairs(database)
    rows = np.linspace(0, len(pairs) - 1, min(MOST, len(pairs))).round().astype(int)
    chosen = [pairs[row] for row in rows.tolist()]
    drawn = 0
    for (name0, name1), matches in zip(chosen, read_drawn_matches(database, chosen, MATCHES), strict=True):
        try:
            first, second = photo(name0), photo(name1)
        except ImageError:
            continue
        if matches is not None:
            ends = (matches.places0.astype(np.float32), matches.places1.astype(np.float32))
            sides = first.with_points(ends[0], sizes[name0]), second.with_points(ends[1], sizes[name1])
            order = np.argsort(matches.verified, kind="stable")
            text = f"{photo_title(name0, name1)}: {_figures(matches)}"
            target.write(draw_matches(*sides, COLOURS[matches.verified], order, text), name0, name1)
            drawn += 1
    return drawn


def _figures(matches: DrawnMatches) -> str:
    verified: NDArray[np.uint8] = matches.verified
    return f"{int((verified == 1).sum())} verified (green), {int((verified == 0).sum())} rejected (red)"


def _sizes(database: Path) -> dict[str, tuple[int, int]]:
    """(width, height) of every photo."""
    query = "SELECT name, width, height FROM images JOIN cameras USING (camera_id)"
    with closing(read_only(database)) as connection:
        return {name: (width, height) for name, width, height in connection.execute(query)}


def _pairs(database: Path) -> list[tuple[str, str]]:
    """The names of each pair with matches, in order."""
    with closing(read_only(database)) as connection:
        names: dict[int, str] = dict(connection.execute("SELECT image_id, name FROM images"))
        keys = [key for (key,) in connection.execute("SELECT pair_id FROM matches WHERE rows > 0")]
    ordered = (sorted(names[image] for image in pair_images(key)) for key in keys)
    return sorted((first, second) for first, second in ordered)
