"""Choosing among ranked pairs: each once, no image in too many, and all images connected where possible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain


def unite(*lists: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs of all lists, each once (either way round), in the order of their first mention."""
    first: dict[frozenset[str], tuple[str, str]] = {}
    for pair in chain(*lists):
        first.setdefault(frozenset(pair), pair)
    return list(first.values())


def limit_degree(ranked: Sequence[tuple[str, str]], degree: int) -> list[tuple[str, str]]:
    """The best of `ranked` pairs (best first) with no image in more than `degree` of them.

    Pairs that connect two separate groups of photos go first, so that, where the limit allows, it does not
    disconnect photos that the ranked pairs connect.
    """
    owner: dict[str, str] = {}
    count: dict[str, int] = {}
    kept: set[int] = set()
    for joining in (True, False):
        for number, (name0, name1) in enumerate(ranked):
            if number in kept or max(count.get(name0, 0), count.get(name1, 0)) >= degree:
                continue
            root0, root1 = _root(owner, name0), _root(owner, name1)
            if joining and root0 == root1:
                continue
            owner[root0] = root1
            kept.add(number)
            count[name0] = count.get(name0, 0) + 1
            count[name1] = count.get(name1, 0) + 1
    return [ranked[number] for number in sorted(kept)]


def _root(owner: dict[str, str], name: str) -> str:
    while (above := owner.setdefault(name, name)) != name:
        owner[name] = owner.setdefault(above, above)
        name = above
    return name
