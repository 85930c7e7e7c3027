"""Counts in sentences."""

import pytest

from astr_cli.wording import counted, first_line, listed


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(1, "pair", "1 pair"), (0, "pair", "0 pairs"), (1, "match", "1 match"), (2, "match", "2 matches")],
)
def test_counted(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text


def test_lists_end_with_how_many_there_are_besides() -> None:
    assert [listed(names, 2) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a, b", "a, b and 1 more"]


def test_errors_of_libraries_become_one_line() -> None:
    assert first_line(KeyError("no such\nkey")) == "no such\\nkey"
    assert first_line(OSError("damaged\nat byte 3")) == "damaged"
    assert first_line(ValueError()) == "ValueError"
