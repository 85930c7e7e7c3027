"""Mapping without the pairs that repeated structure misled."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.database.pair_ids import pair_id, pair_images
from astr_cli.sfm.mapping import first_models
from astr_cli.sfm.mapping.mapper import map_database
from astr_cli.sfm.repeats.finding import Repeat

from .flights import fly


def leaving_out(first: int) -> Callable[..., tuple[Repeat, ...]]:
    """A check that finds all pairs of the photos from number `first` on wrong."""

    def check(database: Path, photos: Path, drop: bool, *_: object) -> tuple[Repeat, ...]:
        with closing(sqlite3.connect(database)) as connection, connection:
            names = dict(connection.execute("SELECT image_id, name FROM images"))
            pairs = [pair_images(row[0]) for row in connection.execute("SELECT pair_id FROM matches")]
            wrong = [pair for pair in pairs if max(pair) >= first]
            numbers = [(pair_id(a, b),) for a, b in wrong]
            connection.executemany("DELETE FROM two_view_geometries WHERE pair_id = ?", numbers)
        return tuple(Repeat(names[a], names[b], drop, "why") for a, b in wrong)

    return check


@pytest.mark.parametrize(("first", "photos", "left_out"), [(7, 12, False), (12, 11, True)])
def test_a_model_that_loses_many_photos_is_mapped_with_all_pairs(
    first: int, photos: int, left_out: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 12: without the pairs of half of them, six remain; without those of one, eleven."""
    monkeypatch.setattr(first_models, "check_repeats", leaving_out(first))
    told: list[str] = []
    database = fly("line").write(tmp_path / "db.db")
    model = map_database(database, tmp_path, tmp_path, MapOptions(repeats="drop"), told.append)
    assert len(model.registered) == photos
    assert model.repeats
    assert {pair.left_out for pair in model.repeats} == {left_out}
    assert any("they are kept" in line for line in told) == (not left_out)
