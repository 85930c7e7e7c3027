"""Counts in sentences."""

import pytest

from astr_cli.sfm.wording import counted


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(1, "pair", "1 pair"), (0, "pair", "0 pairs"), (1, "match", "1 match"), (2, "match", "2 matches")],
)
def test_counted(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text
