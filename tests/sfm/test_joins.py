"""Which pairs might join models that stay apart: those with the most verified matches, else with the most matches."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from astr_cli.cli.reconstruct_output import join_text
from astr_cli.sfm.mapping.unregistered import Join, joins

NAMES = ("a", "b", "c", "d", "e", "f")
FIRST, SECOND, THIRD = frozenset("abc"), frozenset("cde"), frozenset("f")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The tables that are read; pairs with (matches, inliers) as below."""
    path = tmp_path / "db.db"
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE images (image_id INTEGER, name TEXT)")
        made.execute("CREATE TABLE matches (pair_id INTEGER, rows INTEGER)")
        made.execute("CREATE TABLE two_view_geometries (pair_id INTEGER, rows INTEGER, config INTEGER)")
        made.executemany("INSERT INTO images VALUES (?, ?)", enumerate(NAMES, 1))
        for names, matches, inliers in (("ad", 90, 40), ("be", 99, 20), ("cd", 200, 100), ("af", 9, 0)):
            pair = (NAMES.index(names[0]) + 1) * 2147483647 + NAMES.index(names[1]) + 1
            made.execute("INSERT INTO matches VALUES (?, ?)", (pair, matches))
            made.execute("INSERT INTO two_view_geometries VALUES (?, ?, ?)", (pair, inliers, 2 if inliers else 1))
    return path


def test_best_pairs_between_models(database: Path) -> None:
    assert joins(database, [FIRST]) == ()
    second, third = joins(database, [FIRST, SECOND, THIRD])
    assert second == Join(1, 3, (("c", "d", 100), ("a", "d", 40), ("b", "e", 20)))
    assert third == Join(2, 1, (("a", "f", 0),))
    assert joins(database, [FIRST, frozenset("xy")]) == (Join(1, 2, ()),)


def test_one_sentence_per_model(database: Path) -> None:
    second, third = map(join_text, joins(database, [FIRST, SECOND, THIRD]))
    assert second.startswith("model 1 (3 photos): joined best by c and d (100 verified matches)")
    assert third == "model 2 (1 photo): nearest to the largest by a and f, not verified; add photos between the two"
    assert "no pair with the largest model has matches" in join_text(Join(1, 2, ()))
