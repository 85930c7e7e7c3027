"""Pairs as a graph: how photos hang together, limits that keep them together, and lists on disk."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.pairs.connectivity import connectivity
from astr_cli.pairs.reading import PairsError, read_pairs
from astr_cli.pairs.selecting import limit_degree, unite
from astr_cli.pairs.writing import write_pairs

NUMBERS = st.integers(0, 7)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] < pair[1]), unique=True)


def groups(names: list[str], pairs: list[tuple[str, str]]) -> list[set[str]]:
    """Connected parts by repeated joining: a plain twin."""
    parts = [{name} for name in names]
    for a, b in pairs:
        joined = {*next(part for part in parts if a in part), *next(part for part in parts if b in part)}
        parts = [part for part in parts if not part & joined] + [joined]
    return parts


@settings(max_examples=200, deadline=None)
@given(PAIRS)
def test_connectivity_equals_a_plain_twin(pairs: list[tuple[int, int]]) -> None:
    names = [f"n{number}" for number in range(8)]
    edges = [(names[a], names[b]) for a, b in pairs]
    graph = connectivity(names, edges)
    assert sorted(map(sorted, graph.components)) == sorted(map(sorted, groups(names, edges)))
    assert [len(part) for part in graph.components] == sorted(map(len, graph.components), reverse=True)
    for name in names:
        others = [other for other in names if other != name]
        left = groups(others, [edge for edge in edges if name not in edge])
        alone = name in graph.alone
        assert (name in graph.articulation) == (len(left) > len(graph.components) - alone)
    degrees = sorted(sum(name in edge for edge in edges) for name in names)
    assert graph.degrees == (degrees[0], degrees[4], degrees[-1])


def test_a_long_chain_does_not_end_python() -> None:
    names = [str(number) for number in range(20_000)]
    graph = connectivity(names, itertools.pairwise(names))
    assert (len(graph.components), len(graph.articulation)) == (1, 19_998)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] < pair[1]), unique=True), st.integers(1, 5))
def test_no_photo_in_more_pairs_than_the_limit(pairs: list[tuple[int, int]], degree: int) -> None:
    ranked = [(str(a), str(b)) for a, b in pairs]
    kept = limit_degree(ranked, degree)
    assert kept == [pair for pair in ranked if pair in set(kept)]
    counts = [sum(str(name) in pair for pair in kept) for name in range(8)]
    assert max(counts) <= degree
    # Nothing is left out that would still fit.
    for a, b in set(ranked) - set(kept):
        assert max(counts[int(a)], counts[int(b)]) == degree


def test_a_limit_does_not_tear_apart() -> None:
    """Two groups of four, and one pair between them that ranks last: first come first served would leave it out."""
    inside = [(a, b) for group in ("abcd", "wxyz") for a, b in itertools.combinations(group, 2)]
    kept = limit_degree([*inside, ("d", "x")], 3)
    assert ("d", "x") in kept
    assert len(connectivity(sorted("abcdwxyz"), kept).components) == 1


def test_union_keeps_first_mention() -> None:
    assert unite([("a", "b"), ("c", "d")], [("b", "a"), ("e", "a")]) == [("a", "b"), ("c", "d"), ("e", "a")]


def test_writing_is_read_back_and_never_replaces_unasked(tmp_path: Path) -> None:
    pairs = [("a b.jpg", "ü/c.jpg"), ('say "x".jpg', "it's.jpg"), ("#1.jpg", "2.jpg")]
    path = tmp_path / "pairs.txt"
    write_pairs(path, pairs)
    assert [(pair.name0, pair.name1) for pair in read_pairs(path).pairs] == pairs
    write_pairs(path, pairs)
    with pytest.raises(PairsError, match="replace it with --overwrite"):
        write_pairs(path, pairs[:1])
    write_pairs(path, pairs[:1], overwrite=True)
    assert len(read_pairs(path).pairs) == 1
    with pytest.raises(PairsError, match="cannot be written"):
        write_pairs(tmp_path / "none" / "pairs.txt", pairs)
