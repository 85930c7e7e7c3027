"""Sparing time (`--adaptive`): whether two photos seem to overlap, and whether their matches have settled.

Where photos overlap, neighbouring cells match neighbouring cells long before the network is sure of any match. Without
overlap only small clusters agree, by chance. Where this leaves doubt, small copies of both photos are matched first, at
a fifth of the time. NOTE not in the paper (docs/model.md, Around the model).
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from astr_cli.model.going import Grid
from astr_cli.ops.matching import BestMatches, DualSoftmax

REACH = 2  # cells between two matches that may support each other
SLACK, STRETCH = 1.2, 0.5  # their ends may differ by so many cells, and by so much more per cell between them
RATIOS = (1, 2)  # sizes of things in one photo over those in the other; these tolerances cover what is between
FEWEST_CELLS = 2000  # of either photo: smaller ones cost little, and nothing is known about them
SMALLEST = 6  # the size of a cluster of the pooled matching matrix that counts: smaller ones also arise by chance
# Chosen on rendered pairs and real photos, as are the shares below (docs/measurements.md, Stopping early).
SURE = 15.0  # sum of scores in such clusters from which the small copies of a pair are not matched
CONFIDENT = 0.1  # score of a match of small copies that counts
LEAST = 120.0  # number of these plus one, times that sum plus one, below which a pair ends
# Matches in clusters of a matching matrix of all cells, as a share of the smaller photo's cells: a pair has settled
# with the first share, or with the second if they are at most so many times those of the round before.
SETTLED, STEADY, GROWTH = 0.22, 0.1, 1.3
SETTLED_SMALLEST = 16  # the size of a cluster that counts there

Ints = npt.NDArray[np.int64]


class Doubtful(NamedTuple):
    """Pairs that are not sure to overlap."""

    places: list[int]
    scores: list[float]  # sum of the scores of matches in clusters


class Agreement(NamedTuple):
    """The mutual matches of one matching matrix that stand in clusters."""

    matches: int
    score: float  # sum of their scores


def doubtful(pooled: DualSoftmax, grid0: Grid, grid1: Grid) -> Doubtful:
    """The pairs with little agreement in the pooled matching matrix of the first round.

    Grids are (height, width) of the pooled maps.
    """
    scores = [each.score for each in _agreements(pooled, grid0, grid1, SMALLEST)]
    places = [place for place, score in enumerate(scores) if score < SURE]
    return Doubtful(places, [scores[place] for place in places])


def ended(pairs: Doubtful, copies: DualSoftmax) -> list[int]:
    """The places of the doubtful pairs that end, by the last matching matrix of their small copies."""
    best0, _ = copies.best()
    counts = (copies.mutual() & (best0.log_p > math.log(CONFIDENT))).sum(dim=1).tolist()
    each = zip(pairs.places, pairs.scores, counts, strict=True)
    return [place for place, score, count in each if (count + 1) * (score + 1) < LEAST]


def small_side(side: int) -> int:
    """Half of a side that is a multiple of 32, rounded up to another one."""
    return -(-side // 64) * 32


def small_copies(images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Images (B, 1, H, W) and masks (B, H, W) at about half the size, sides multiples of 32."""
    size = [small_side(side) for side in images.shape[2:]]
    small = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    return small, None if masks is None else F.adaptive_max_pool2d(masks.float()[:, None], size)[:, 0] > 0


def settled(matching: DualSoftmax, grid0: Grid, grid1: Grid, before: list[int]) -> tuple[list[int], list[int]]:
    """The places of the pairs whose matches have settled, by a round's matching matrix; and all pairs' counts.

    Grids are (height, width) in cells; `before` has the counts of the round before, 0 where there is none.
    """
    cells = min(math.prod(grid0), math.prod(grid1))
    if cells < FEWEST_CELLS:
        return [], before
    counts = [each.matches for each in _agreements(matching, grid0, grid1, SETTLED_SMALLEST)]
    places = [
        place
        for place, (count, last) in enumerate(zip(counts, before, strict=True))
        if count >= SETTLED * cells or STEADY * cells <= count <= GROWTH * last
    ]
    return places, counts


def _agreements(matching: DualSoftmax, grid0: Grid, grid1: Grid, smallest: int) -> list[Agreement]:
    best0, best1 = matching.best()
    pairs = zip(best0.cells, best0.log_p, best1.cells, best1.log_p, strict=True)
    return [
        agreement(BestMatches(cells0, log_p0), BestMatches(cells1, log_p1), grid0, grid1, smallest)
        for cells0, log_p0, cells1, log_p1 in pairs
    ]


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
