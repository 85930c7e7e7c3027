"""A second pass with a model's poses: verify every pair with them, triangulate again, and adjust everything."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from astr_cli.sfm import colmap
from astr_cli.sfm.database.known_poses import cameras_of
from astr_cli.sfm.database.verification import verify


def refine(model: Any, database: Path, images: Path, scratch: Path, settings: colmap.MapperSettings) -> Any:
    """The refined pycolmap.Reconstruction, in a frame of its own; the database of the model stays as it is.

    Retries unregistered photos, as their pairs may pass with better cameras.
    """
    work = scratch / "refining"
    work.mkdir()
    copy = work / "database.db"
    shutil.copyfile(database, copy)
    pairs = _forget_geometries(copy)
    with cameras_of(model, copy):
        verify(copy, pairs, model, stop=settings.stop)
    start, out = work / "start", work / "out"
    for folder in (start, out):
        folder.mkdir()
    colmap.triangulate(model, copy, images, start, settings).write(start)
    refined = colmap.incremental_mapping(copy, images, out, settings, _coloured(model, images), start)
    shutil.rmtree(work)
    return max(refined, key=lambda found: found.num_reg_images(), default=model)


def _forget_geometries(database: Path) -> set[int]:
    """Deletes the geometries of all pairs with matches; returns the ids of these pairs."""
    with closing(sqlite3.connect(database)) as connection:
        pairs = {pair for (pair,) in connection.execute("SELECT pair_id FROM matches WHERE rows > 0")}
        connection.execute("DELETE FROM two_view_geometries WHERE pair_id IN (SELECT pair_id FROM matches WHERE rows)")
        connection.commit()
    return pairs


def _coloured(model: Any, images: Path) -> bool:
    return all((images / image.name).is_file() for image in model.images.values())
