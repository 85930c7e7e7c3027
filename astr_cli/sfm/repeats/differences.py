"""Differences: places that both photos of a pair share with others, but show differently, amid its matches.

Hidden places do not count: they close in the other photo. Nor do places that the matcher missed: they are found nearby.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from astr_cli.sfm.repeats.doubts import Doubts
from astr_cli.sfm.repeats.holes import AROUND, COVERED, EMPTY, GRID, KNOWN, WITHIN, cells
from astr_cli.sfm.repeats.looks import Picture, alike, found_near
from astr_cli.sfm.repeats.pairs import VerifiedPair

NEIGHBOURS = 16  # matches that say where a place lies in the other photo

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class _Side(NamedTuple):
    """A pair, seen from one of its photos; `alike` matches only, but for `covered`."""

    image: int
    points: Floats  # (M, 2)
    near: Floats  # (GRID, GRID) shares of cells with matches
    covered: Mask  # (GRID, GRID) amid matches of the pair


def difference_doubts(
    pairs: Sequence[VerifiedPair], photos: Mapping[int, Picture], alive: Callable[[], None]
) -> Doubts:
    """The differences of each pair, and what it covers of its two photos. photos: by image; all of the pairs."""
    sides = []
    for pair in pairs:
        alive()
        sides.append(_sides(pair, photos[pair.image0], photos[pair.image1]))
    near: dict[int, list[Floats]] = {}
    for each in sides:
        for side in each:
            near.setdefault(side.image, []).append(side.near)
    known = {image: np.sort(shares, axis=0)[-2:].min(0) > KNOWN for image, shares in near.items()}
    cells, covered = np.zeros(len(pairs)), np.zeros(len(pairs))
    for number, (first, second) in enumerate(sides):
        cells[number] = _differences(first, second, known, photos) + _differences(second, first, known, photos)
        covered[number] = sum(int((known[side.image] & side.covered).sum()) for side in (first, second))
    return Doubts(cells, covered)


def _sides(pair: VerifiedPair, photo0: Picture, photo1: Picture) -> tuple[_Side, _Side]:
    same = alike(photo0, photo1, pair.points0, pair.points1) & alike(photo1, photo0, pair.points1, pair.points0)
    return _side(pair.image0, pair.points0, same), _side(pair.image1, pair.points1, same)


def _side(image: int, points: Floats, same: Mask) -> _Side:
    near = uniform_filter(cells(points[same]), WITHIN, mode="constant")
    return _Side(image, points[same], near, uniform_filter(cells(points), AROUND, mode="constant") > COVERED)


def _differences(side: _Side, other: _Side, known: Mapping[int, Mask], photos: Mapping[int, Picture]) -> int:
    """Cells of one photo that differ in the other one."""
    at = np.argwhere(known[side.image] & side.covered & (side.near < EMPTY))
    if not len(at) or len(side.points) < NEIGHBOURS:
        return len(at)
    places = (at[:, ::-1] + 0.5) / GRID
    _, nearest = cKDTree(side.points).query(places, k=NEIGHBOURS)
    there = places + np.median(other.points[nearest] - side.points[nearest], axis=1)
    columns, rows = np.clip((there * GRID).astype(int), 0, GRID - 1).T
    differing = np.flatnonzero((other.near[rows, columns] < EMPTY) & known[other.image][rows, columns])
    return sum(not found_near(photos[side.image], photos[other.image], places[k], there[k]) for k in differing)
