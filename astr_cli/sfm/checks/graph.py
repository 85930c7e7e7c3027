"""Checks of the pairs alone: repeated and empty ones, and how they connect the images."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from astr_cli.pairs.connectivity import connectivity
from astr_cli.sfm.checks.report import Findings, Level, names_of


class PairCount(NamedTuple):
    """A pair and how many matches it has."""

    name0: str
    name1: str
    matches: int


def check_graph(
    found: Findings, images: Iterable[str], pairs: Sequence[PairCount], empty: Level, joins: int = 1
) -> None:
    """Notes problems of the pairs of `images` (the pairs may name more images).

    empty: the severity of a pair without matches. joins: the fewest matches that connect two images.
    """
    seen: set[frozenset[str]] = set()
    for pair in pairs:
        names = frozenset(pair[:2])
        if len(names) == 1:
            found.add("error", "self-pair", pair.name0)
        elif names in seen:
            found.add("error", "duplicate-pair", names_of(*pair[:2]))
        seen.add(names)
        if pair.matches == 0:
            found.add(empty, "empty-pair", names_of(*pair[:2]))
    everything = sorted({*images, *(name for pair in pairs for name in pair[:2])})
    edges = [(pair.name0, pair.name1) for pair in pairs if pair.matches >= joins]
    graph = connectivity(everything, edges)
    for name in graph.alone:
        found.add("warning", "orphan-image", name)
    groups = [part for part in graph.components if len(part) > 1]
    if len(groups) > 1:
        for part in groups:
            found.add("warning", "components", f"{len(part)} images with {part[0]}")
    for name in graph.articulation:
        found.add("note", "articulation", name)


def check_names(found: Findings, names: Iterable[str], level: Level) -> None:
    """Notes names that become equal in hloc's keys, or in a file system that composes accents."""
    first: dict[str, str] = {}
    for name in sorted(names):
        other = first.setdefault(unicodedata.normalize("NFC", name.replace("/", "-")), name)
        if other != name:
            found.add(level, "name-collision", names_of(other, name))
