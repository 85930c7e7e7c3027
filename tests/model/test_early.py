"""Pairs that end early: the clusters against a plain twin, and the results of the pairs that do not end."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from astr_cli.model import early
from astr_cli.model.aggregation import Aggregated
from astr_cli.model.astr import Astr, MatchSettings
from astr_cli.model.backbone import Features
from astr_cli.model.checkpoint import load_weights
from astr_cli.model.early import REACH, SLACK, STRETCH, agreement, clusters
from astr_cli.model.going import Going
from astr_cli.model.watching import watched
from astr_cli.ops.matching import BestMatches
from astr_cli.resources import weights_path

from .conftest import textured

GRID = (40, 60)
PLAIN, ADAPTIVE = MatchSettings(), MatchSettings(adaptive=True)


def plain_clusters(cells0, cells1, grid0, grid1, ratio):
    """A number for the cluster of each match, found by asking every match of every other one."""

    def support(a: int, b: int) -> bool:
        dy, dx = np.subtract(divmod(cells0[b], grid0[1]), divmod(cells0[a], grid0[1]))
        moved = np.subtract(divmod(cells1[b], grid1[1]), divmod(cells1[a], grid1[1]))
        off = math.hypot(*(moved - (ratio * dy, ratio * dx)))
        return max(abs(dy), abs(dx)) <= REACH and off <= SLACK + STRETCH * math.hypot(dy, dx)

    label = [-1] * len(cells0)
    for start in range(len(cells0)):
        waiting = [start] if label[start] < 0 else []
        while waiting:
            a = waiting.pop()
            label[a] = start
            waiting += [b for b in range(len(cells0)) if label[b] < 0 and support(a, b)]
    return label


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from([1, 2]))
@settings(max_examples=40)
def test_clusters_are_those_of_the_plain_twin(seed, count, ratio):
    draw = np.random.default_rng(seed)
    grid0, grid1 = (7, 9), (11, 8)
    cells0, cells1 = (np.sort(draw.permutation(math.prod(grid))[:count]) for grid in (grid0, grid1))
    cells1 = np.where(draw.random(count) < 0.5, cells1, draw.permutation(cells1))
    found, wanted = clusters(cells0, cells1, grid0, grid1, ratio), plain_clusters(cells0, cells1, grid0, grid1, ratio)
    assert len(set(zip(found.tolist(), wanted, strict=True))) == len(set(wanted)) == len(set(found.tolist()))


def best_of(partner: torch.Tensor) -> tuple[BestMatches, BestMatches]:
    """Best partners where cell i of image0 matches `partner[i]`, -1 = none; a score of 0.5 for all that match."""
    back = torch.full((math.prod(GRID),), -1)
    back[partner[partner >= 0]] = torch.arange(len(partner))[partner >= 0]
    return tuple(BestMatches(cells.clamp(min=0), torch.where(cells >= 0, 0.5, 0.0).log()) for cells in (partner, back))


@pytest.mark.parametrize("ratio", [0.4, 0.6, 1.0, 1.5, 2.5])
@pytest.mark.parametrize("degrees", [-20, 0, 20])
def test_a_similarity_is_one_cluster_at_any_common_ratio_and_turn(ratio, degrees):
    turn = math.radians(degrees)
    y, x = torch.meshgrid(torch.arange(GRID[0]) - 20.0, torch.arange(GRID[1]) - 30.0, indexing="ij")
    to_x = (ratio * (math.cos(turn) * x - math.sin(turn) * y)).round() + 30
    to_y = (ratio * (math.sin(turn) * x + math.cos(turn) * y)).round() + 20
    inside = (to_x >= 0) & (to_x < GRID[1]) & (to_y >= 0) & (to_y < GRID[0])
    partner = torch.where(inside, to_y * GRID[1] + to_x, -1).long().flatten()
    best0, best1 = best_of(partner)
    mutual = int(((best1.cells[best0.cells] == torch.arange(len(partner))) & (partner >= 0)).sum())
    found = agreement(best0, best1, GRID, GRID, 20)
    assert found.matches > 0.95 * mutual > 200
    assert found.score == pytest.approx(0.5 * found.matches)


def test_matches_by_chance_stand_in_no_clusters():
    partner = torch.from_numpy(np.random.default_rng(0).permutation(math.prod(GRID)))
    assert agreement(*best_of(partner), GRID, GRID, 16).matches == 0


@pytest.fixture(scope="module")
def shipped() -> Astr:
    return load_weights(weights_path("astr-small")).model.eval()


@pytest.fixture(scope="module")
@torch.inference_mode()
def photos(shipped) -> tuple[Features, Features, Features]:
    """Two photos that overlap, and one of something else."""
    wide = textured(1, 8 * GRID[0] + 32, 8 * GRID[1] + 64)
    views = wide[:, :, :-32, :-64], wide[:, :, 32:, 64:], textured(2, 8 * GRID[0], 8 * GRID[1])
    return tuple(shipped.extract(view.contiguous(), adaptive=True) for view in views)


def plainly(model: Astr, first: Features, second: Features, found_in: int | None) -> torch.Tensor:
    """The last matching matrix, where the spots of round `found_in` serve the rounds after it too (None: no round)."""
    layers = model.aggregation
    maps = layers.first(first, second)
    for index in range(model.config.rounds):
        maps = layers.exchange(maps, 0)
        if found_in is None or index <= found_in:
            matching = layers.matching(maps.high0, maps.high1, *maps.m8, index)
            spots = layers.spots(matching, maps.high0, maps.high1, *maps.m8)
        attend0 = layers.spot_attend(spots.centres0, maps.high1)
        attend1 = layers.spot_attend(spots.centres1, maps.high0)
        maps = layers.attend(maps, 0, attend0, attend1)
    high0, high1 = layers.fuse(layers.last_up, maps[:2], maps[2:4], maps.m8)
    return layers.matching(high0, high1, *maps.m8, model.config.rounds).rows


@torch.inference_mode()
def test_a_settled_pair_keeps_its_spots_and_nearly_all_of_its_matches(shipped, photos):
    here, there, _ = photos
    (plain,), (adaptive,) = (shipped.match(here, there, settings=each) for each in (PLAIN, ADAPTIVE))
    assert len(adaptive.scores) > 0.95 * len(plain.scores) > 200
    assert torch.equal(shipped.aggregation(here, there).matching.rows, plainly(shipped, here, there, None))
    assert torch.equal(shipped.aggregation(here, there, adaptive=True).matching.rows, plainly(shipped, here, there, 0))


@pytest.fixture
def strict(monkeypatch) -> None:
    """Every pair of `photos` is doubtful."""
    monkeypatch.setattr(early, "SURE", math.inf)


@torch.inference_mode()
def test_pairs_that_neither_end_nor_settle_keep_every_bit(shipped, photos, strict, monkeypatch):
    here, there, elsewhere = photos
    monkeypatch.setattr(early, "SETTLED", 2)
    monkeypatch.setattr(early, "STEADY", 2)
    (plain,), (adaptive,) = (shipped.match(here, there, settings=each) for each in (PLAIN, ADAPTIVE))
    assert all(torch.equal(a, b) for a, b in zip(plain, adaptive, strict=True))
    (none,) = shipped.match(here, elsewhere, settings=ADAPTIVE)
    assert [len(part) for part in none] == [0, 0, 0, 0]


def joined(*photos: Features) -> Features:
    """The photos as one batch."""
    small = [photo.small for photo in photos if photo.small is not None]
    maps = (torch.cat(parts) for parts in zip(*(photo[:3] for photo in photos), strict=True))
    return Features(*maps, None, joined(*small) if small else None)


@torch.inference_mode()
def test_pairs_of_a_batch_end_and_settle_each_for_itself(shipped, photos, strict):
    here, there, elsewhere = photos
    first, second = joined(here, here, here), joined(elsewhere, there, elsewhere)
    aggregated: list[Aggregated] = []
    handle = shipped.aggregation.register_forward_hook(lambda _, args, found: aggregated.append(found))
    found = shipped.match(first, second, settings=ADAPTIVE)
    handle.remove()
    assert [each.pairs for each in aggregated] == [(1,)]
    assert [len(found[0].scores), len(found[2].scores)] == [0, 0]
    (alone,) = shipped.match(here, there, settings=ADAPTIVE)
    assert abs(len(found[1].scores) - len(alone.scores)) <= 0.001 * len(alone.scores)
    if len(found[1].scores) == len(alone.scores):
        torch.testing.assert_close(found[1].keypoints1, alone.keypoints1, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("right", "score", "ends"), [(28, 3.0, True), (29, 3.0, False), (28, 3.2, False), (0, 14.0, True)]
)
def test_a_pair_ends_with_little_agreement_and_few_matches_of_its_small_copies(right, score, ends):
    cells = math.prod(GRID)
    best0, best1 = best_of(torch.where(torch.arange(cells) < right, torch.arange(cells), -1))
    copies = SimpleNamespace(
        best=lambda: (BestMatches(best0.cells[None], best0.log_p[None]), None),
        mutual=lambda: (best1.cells[best0.cells] == torch.arange(cells))[None],
    )
    assert early.ended(early.Doubtful([7], [score]), copies) == ([7] if ends else [])


@torch.inference_mode()
def test_small_copies_are_the_photos_at_half_their_size(shipped):
    photo = textured(3, 320, 512)
    masks = torch.ones(1, 320, 512, dtype=torch.bool)
    masks[:, :, 256:] = False
    small, mask = early.small_copies(photo, masks)
    torch.testing.assert_close(small[:, :, 8:-8, 8:-8], F.avg_pool2d(photo, 2)[:, :, 8:-8, 8:-8], atol=0.1, rtol=0)
    assert mask is not None and mask[:, :, :128].all() and not mask[:, :, 128:].any()
    assert early.small_copies(textured(3, 96, 480), None)[0].shape == (1, 1, 64, 256)
    assert shipped.extract(photo).small is None  # nothing is spent where no pair may end
    assert shipped.extract(textured(3, 256, 480), adaptive=True).small is None  # too small to tell
    features = shipped.extract(photo, masks, adaptive=True).small
    assert features is not None and features.mask8 is not None and features.coarse8.shape[2:] == (20, 32)


def test_a_pair_settles_with_many_matches_or_with_steady_ones():
    cells = math.prod(GRID)
    steady = math.ceil(0.2 * cells)
    partner = torch.where(torch.arange(cells) < steady, torch.arange(cells), -1)
    best0, best1 = best_of(partner)
    matching = SimpleNamespace(best=lambda: tuple(BestMatches(x.cells[None], x.log_p[None]) for x in (best0, best1)))
    found = [early.settled(matching, GRID, GRID, [before]) for before in (0, steady // 2, steady, 2 * steady)]
    assert found == [([], [steady]), ([], [steady]), ([0], [steady]), ([0], [steady])]
    best0, best1 = best_of(torch.arange(cells))
    assert early.settled(matching, GRID, GRID, [0]) == ([0], [cells])
    assert early.settled(matching, (30, 30), GRID, [7]) == ([], [7])  # too small to tell


def test_spots_stay_with_their_pairs_while_others_end_and_settle():
    going = Going(4)
    names = torch.arange(4).view(4, 1, 1)
    assert going.drop([1]) == [0, 2, 3]
    going.look(names[[0, 2, 3]], -names[[0, 2, 3]], settled=[0, 2])
    assert (going.pairs, going.searching) == ([0, 2, 3], [1])
    going.look(names[[2]] + 10, -names[[2]] - 10, settled=[])
    assert [centres.flatten().tolist() for centres in going.centres] == [[0, 12, 3], [0, -12, -3]]
    assert going.drop([0]) == [0, 2]
    assert (going.pairs, going.searching, going.counts) == ([0, 3], [], [])
    assert going.centres[0].flatten().tolist() == [0, 3]


@torch.inference_mode()
def test_a_watched_pair_never_ends(shipped, photos):
    with watched(shipped, ADAPTIVE) as kept:
        shipped.match(photos[0], photos[2], settings=ADAPTIVE)
    assert len(kept.aggregated[0].rounds) == shipped.config.rounds
    assert len(kept.spots) == shipped.config.rounds
