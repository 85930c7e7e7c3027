"""Ending pairs early (`--adaptive`): whether two photos seem to overlap, asked of a round's matching matrix.

Where photos overlap, neighbouring cells match neighbouring cells long before the network is sure of any match. Without
overlap only small clusters agree, by chance. NOTE not in the paper (docs/model.md, Around the model).
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from astr_cli.ops.matching import BestMatches, DualSoftmax

REACH = 2  # cells between two matches that may support each other
SLACK, STRETCH = 1.2, 0.5  # their ends may differ by so many cells, and by so much more per cell between them
RATIOS = (1, 2)  # sizes of things in one photo over those in the other; these tolerances cover what is between
FEWEST_CELLS = 2000  # of either photo: smaller ones cost little, and nothing is known about them
CELLS = 4800  # of a photo of 640x480, for which the limits below hold


class Limit(NamedTuple):
    """A pair ends if it has less of both."""

    smallest: int  # matches of a cluster that counts: smaller ones also arise by chance
    matches: float = math.inf  # in such clusters
    score: float = math.inf  # sum of their scores


# After the first rounds; the scores say little before the third. Chosen on rendered pairs (docs/measurements.md,
# Stopping early).
LIMITS = (Limit(16, matches=30), Limit(20, matches=60), Limit(20, score=3.5))

Grid = tuple[int, int]
Ints = npt.NDArray[np.int64]


class Agreement(NamedTuple):
    """The mutual matches of one matching matrix that stand in clusters."""

    matches: int
    score: float  # sum of their scores


def remaining(matching: DualSoftmax, grid0: Grid, grid1: Grid, index: int) -> list[int]:
    """The places of the pairs that do not end after round `index`; grids are (height, width) in cells."""
    best0, best1 = matching.best()
    every = list(range(len(best0.cells)))
    cells = min(math.prod(grid0), math.prod(grid1))
    if cells < FEWEST_CELLS or index >= len(LIMITS):
        return every
    limit, share = LIMITS[index], cells / CELLS
    stay = []
    for pair in every:
        own0, own1 = (BestMatches(best.cells[pair], best.log_p[pair]) for best in (best0, best1))
        found = agreement(own0, own1, grid0, grid1, limit.smallest)
        if found.matches >= limit.matches * share or found.score >= limit.score * share:
            stay.append(pair)
    return stay


def agreement(best0: BestMatches, best1: BestMatches, grid0: Grid, grid1: Grid, smallest: int) -> Agreement:
    """The clusters of one pair, best partners (N0,) and (N1,), for the ratio of sizes at which they are largest."""
    partner, back = best0.cells.cpu().numpy(), best1.cells.cpu().numpy()
    scores = best0.log_p.float().exp().cpu().numpy()
    cells0 = np.flatnonzero((back[partner] == np.arange(len(partner))) & (scores > 0))
    sides = (cells0, grid0), (partner[cells0], grid1)
    matches, score = 0, 0.0
    for (cells, grid), (others, other_grid) in (sides, sides[::-1]):
        for ratio in RATIOS:
            label = clusters(cells, others, grid, other_grid, ratio)
            large = (np.bincount(label) >= smallest)[label]
            matches = max(matches, int(large.sum()))
            score = max(score, float(scores[cells0[large]].sum(dtype=np.float64)))
    return Agreement(matches, score)


def clusters(cells0: Ints, cells1: Ints, grid0: Grid, grid1: Grid, ratio: float) -> Ints:
    """The number of the cluster of each match (M,): matches that support each other, and those that support these.

    Two matches support each other if their cells are at most `REACH` apart in image0, by rows and by columns, and
    those in image1 lie `ratio` times as far apart in the same direction, within the tolerances. Plain twin:
    tests/model/test_early.py.
    """
    place = np.full(grid0, -1, np.int64)
    place.ravel()[cells0] = np.arange(len(cells0))
    ends = np.stack([cells1 % grid1[1], cells1 // grid1[1]], axis=1).astype(np.float64)
    links = [np.zeros((2, 0), np.int64)]
    for dy in range(REACH + 1):
        for dx in range(-REACH if dy else 1, REACH + 1):
            here = place[: grid0[0] - dy, max(-dx, 0) : grid0[1] - max(dx, 0)]
            there = place[dy:, max(dx, 0) : grid0[1] - max(-dx, 0)]
            both = (here >= 0) & (there >= 0)
            first, second = here[both], there[both]
            off = ends[second] - ends[first] - (ratio * dx, ratio * dy)
            near = (off**2).sum(axis=1) <= (SLACK + STRETCH * math.hypot(dx, dy)) ** 2
            links.append(np.stack([first[near], second[near]]))
    first, second = np.concatenate(links, axis=1)
    joined = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(len(cells0), len(cells0)))
    return connected_components(joined, directed=False)[1].astype(np.int64)
