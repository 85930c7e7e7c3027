"""The stages one by one: positions, spots, adaptive scaling, fine windows."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.model.astr import Astr, MatchSettings
from astr_cli.model.config import PRESETS
from astr_cli.model.fine import FineMaps, FineStage, Windows, expect, sample_windows, token_places, window_scales
from astr_cli.model.layers import full_attention, linear_attention
from astr_cli.model.positions import positional_encoding
from astr_cli.model.scaling import affine_ratios, scale_ratios
from astr_cli.model.spots import listed_similarity, neighbour_cells, neighbour_similarity, select_spots
from astr_cli.ops.matching import BestMatches

CPU = torch.device("cpu")


def test_both_levels_share_one_frame():
    """The code of a 1/32 cell is the sinusoid at the mean place of the 4 x 4 cells of 1/8 that it covers."""
    fine = positional_encoding(64, (16, 24), 8, 832, CPU, torch.float32)
    coarse = positional_encoding(64, (4, 6), 32, 832, CPU, torch.float32)
    # Channel 0 is sin(x'): x' of a coarse cell lies midway between its two central fine cells.
    step = 832 / (24 * 8)
    x = 4 * (2 + 0.5) - 0.5
    assert coarse[0, 0, 0, 2].item() == pytest.approx(math.sin(x * step), abs=1e-5)
    assert fine[0, 0, 0, 9].item() == pytest.approx(math.sin(9 * step), abs=1e-5)
    assert coarse.shape == (1, 64, 4, 6)


def test_positions_are_normalised_by_the_images_own_size():
    small = positional_encoding(32, (8, 8), 8, 832, CPU, torch.float32)
    large = positional_encoding(32, (16, 16), 8, 832, CPU, torch.float32)
    # Position 2 x of the large image is position x of the small one.
    torch.testing.assert_close(small[..., 3, 5], large[..., 6, 10], atol=1e-5, rtol=0)


def test_spots_take_the_similar_and_confident_neighbours():
    features = torch.zeros(1, 4, 5, 5)
    features[0, 0] = 1.0
    for y, x in ((1, 1), (1, 3), (3, 1), (3, 3)):
        features[0, 0, y, x] = 5.0  # most similar to the centre
    confidence = torch.full((1, 25), 0.5)
    best = BestMatches(torch.arange(25)[None] + 100, confidence.log())
    centres = select_spots(best, features, window=5, top_k=4).centres
    assert centres[0, 12].tolist()[0] == 112
    assert sorted(centres[0, 12].tolist()[1:]) == [106, 108, 116, 118]
    best.log_p[0, 6] = -200.0  # no confidence: its place goes to somebody else
    centres = select_spots(best, features, window=5, top_k=4).centres
    assert 106 not in centres[0, 12].tolist()


def test_spots_never_leave_the_image_nor_take_masked_cells():
    features = torch.randn(1, 8, 4, 4)
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    mask[0, :, 2:] = False
    log_p = torch.where(mask.flatten(1), -0.1, -3e9)
    centres = select_spots(BestMatches(torch.arange(16)[None], log_p), features, 5, 4, mask).centres
    allowed = {0, 1, 4, 5, 8, 9, 12, 13, -1}
    assert set(centres[0].flatten().tolist()) <= allowed
    lone = select_spots(BestMatches(torch.arange(4)[None], torch.zeros(1, 4)), torch.randn(1, 8, 2, 2), 5, 4).centres
    assert (lone == -1).sum() == 4  # three neighbours for four places, in each of four cells


def test_neighbours_do_not_wrap_around():
    cells = neighbour_cells((3, 4), [(0, 1), (1, 0), (-1, -1)], CPU)
    assert cells[3].tolist() == [-1, 7, -1]
    assert cells[5].tolist() == [6, 9, 0]


def test_masked_keys_are_invisible_to_both_attentions():
    query, key, value = torch.randn(3, 2, 2, 6, 8)
    mask = torch.tensor([[True, True, False, True, False, True], [False] * 6])
    for attention in (linear_attention, full_attention):
        found = attention(query, key, value, mask)
        kept = attention(query[:1], key[:1][:, :, mask[0]], value[:1][:, :, mask[0]])
        torch.testing.assert_close(found[:1], kept, atol=1e-5, rtol=1e-5)
        assert (found[1] == 0).all()


def two_views(count: int, seed: int, focal0: float, focal1: float):
    """Random points seen by two cameras: pixels, depths and intrinsics of both."""
    rng = np.random.default_rng(seed)
    points = rng.uniform([-2, -2, 3], [2, 2, 9], (count, 3))
    angle = 0.2
    rotation = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    moved = points @ rotation.T + np.array([0.5, 0.2, -1.5])
    seen = []
    for cloud, focal in ((points, focal0), (moved, focal1)):
        k = np.array([[focal, 0, 320], [0, focal, 240], [0, 0, 1]])
        seen.append(((cloud @ k.T)[:, :2] / cloud[:, 2:], cloud[:, 2], k))
    return seen


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(300, 900), st.floats(300, 900))
def test_geometric_ratio_is_focal_over_depth(seed, focal0, focal1):
    (x0, d0, k0), (x1, d1, k1) = two_views(150, seed, focal0, focal1)
    truth = np.clip((focal1 / d1) / (focal0 / d0), 1 / 3, 3)
    found = scale_ratios(x0, x1, k0, k1, limit=3.0)
    assert np.median(np.abs(np.log(found / truth))) < 0.02


@pytest.mark.parametrize("known", [True, False])
def test_the_order_of_the_matches_does_not_change_a_ratio(known):
    (x0, _, k0), (x1, _, k1) = two_views(300, 5, 600, 600)
    rng = np.random.default_rng(1)
    x1 = x1 + rng.uniform(-4, 4, x1.shape)
    intrinsics = (k0, k1) if known else (None, None)
    shuffled = rng.permutation(300)
    ratios = scale_ratios(x0, x1, *intrinsics, limit=3.0)
    assert len(np.unique(ratios)) > 200
    np.testing.assert_array_equal(scale_ratios(x0[shuffled], x1[shuffled], *intrinsics, limit=3.0), ratios[shuffled])


def test_coarse_noise_hardly_moves_the_geometric_ratio():
    (x0, d0, k0), (x1, d1, k1) = two_views(400, 3, 600, 600)
    rng = np.random.default_rng(0)
    noisy = [x + rng.uniform(-4, 4, x.shape) for x in (x0, x1)]
    error = np.log(scale_ratios(*noisy, k0, k1, limit=3.0) / np.clip(d0 / d1, 1 / 3, 3))
    assert np.median(np.abs(error)) < 0.1


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 2.0), st.floats(-3, 3), st.integers(0, 100))
def test_affine_ratio_is_the_local_magnification(scale, angle, seed):
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(9)), axis=-1).reshape(-1, 2) * 8 + 3.5
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    noise = np.random.default_rng(seed).uniform(-1, 1, grid.shape)
    ratio = affine_ratios(grid, grid @ turn.T + noise)
    assert np.isfinite(ratio).all()
    assert np.median(np.abs(np.log(ratio / scale))) < 0.1


def test_without_evidence_the_ratio_is_one():
    rng = np.random.default_rng(0)
    few = rng.uniform(0, 100, (5, 2))
    assert (scale_ratios(few, few, None, None, 3.0) == 1).all()
    line = np.column_stack([np.arange(40) * 8.0, np.zeros(40)])
    assert (scale_ratios(line, line, None, None, 3.0) == 1).all()
    assert scale_ratios(np.zeros((0, 2)), np.zeros((0, 2)), np.eye(3), np.eye(3), 3.0).shape == (0,)


@settings(max_examples=10, deadline=None)
@given(st.integers(3, 9), st.integers(3, 9), st.integers(0, 2**31 - 1))
def test_both_ways_to_similarity_agree(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 64, height, width, generator=generator)
    valid = torch.rand(2, height, width, generator=generator) < 0.8
    offsets = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if (dy, dx) != (0, 0)]
    cells = neighbour_cells((height, width), offsets, CPU)
    inside = (cells >= 0) & valid.flatten(1)[:, cells.clamp(min=0)]
    listed = listed_similarity(features, torch.where(inside, cells, -1))
    torch.testing.assert_close(listed, neighbour_similarity(features, offsets, valid), atol=1e-5, rtol=1e-4)


def test_windows_never_shrink_below_the_plain_one():
    scale0, scale1 = window_scales(torch.tensor([0.5, 1.0, 2.0]))
    assert scale0.tolist() == [2.0, 1.0, 1.0]
    assert scale1.tolist() == [1.0, 1.0, 2.0]


def test_ratio_one_equals_the_plain_crop():
    """A cell's centre lies between four fine cells, so the plain crop is one of the map of their means."""
    fine = torch.randn(6, 40, 48)
    between = torch.nn.functional.avg_pool2d(fine, 2, stride=1)
    cells = torch.tensor([[3, 4], [5, 2], [9, 7]])
    crops = sample_windows(fine[None], [3], cells.float() * 8 + 3.5, torch.ones(3), 5)
    for crop, (x, y) in zip(crops, cells.tolist(), strict=True):
        plain = between[:, 4 * y - 1 : 4 * y + 4, 4 * x - 1 : 4 * x + 4]
        torch.testing.assert_close(crop, plain.flatten(1).T, atol=1e-5, rtol=1e-5)


def test_off_equals_ratio_one():
    torch.manual_seed(0)
    model = Astr(PRESETS["astr-small"]).eval()
    points = torch.rand(30, 2) * 100
    off = model.ratios(points, points * 1.5, None, None, MatchSettings(scaling="off"))
    assert (off == 1).all()
    auto = model.ratios(points, points * 1.5, None, None, MatchSettings())
    assert auto.median() == pytest.approx(1.5, rel=0.05)


@settings(max_examples=20, deadline=None)
@given(st.floats(-3.5, 3.5), st.floats(-3.5, 3.5), st.floats(1.0, 2.5))
def test_offsets_are_pixels_of_the_working_image(dx, dy, scale):
    """A heat map that is the true place's bilinear weights gives that place back, at any window size."""
    stage = FineStage(PRESETS["astr-small"])
    places = token_places(5, CPU) * 2  # in fine cells of a plain window
    goal = torch.tensor([dx, dy]) / 2 / scale
    weights = (1 - (places - goal).abs()).clamp(min=0).prod(dim=1)
    heat = weights / weights.sum()
    mean = heat @ token_places(5, CPU)
    offset = mean * 4.0 * scale
    inside = goal.abs().max() <= 2
    if inside:
        torch.testing.assert_close(offset, torch.tensor([dx, dy]), atol=1e-3, rtol=0)
    assert stage.config.fine_tokens == 5


def some_windows(count):
    points = torch.rand(2, count, 2) * 60 + 8
    return Windows(*points, torch.rand(count) + 0.5, *torch.randn(2, count, 128))


@torch.no_grad()
def test_blocks_do_not_change_a_window():
    torch.manual_seed(1)
    stage = FineStage(PRESETS["astr-small"]).eval()
    fine0, fine1 = torch.randn(2, 3, 48, 40, 40)
    windows = some_windows(150)
    counts = [30, 0, 120]
    all_of_them = stage.refine(FineMaps(fine0, fine1, counts), windows)
    some = stage.refine(FineMaps(fine0[2:], fine1[2:], [7]), Windows(*(part[40:47] for part in windows)))
    for whole, part in zip(all_of_them, some, strict=True):
        torch.testing.assert_close(whole[40:47], part, atol=0, rtol=0)
    plain = stage(FineMaps(fine0, fine1, counts), windows)
    for located, whole in zip(plain.last, all_of_them, strict=True):
        torch.testing.assert_close(located.offsets, whole, atol=1e-4, rtol=0)
    nothing = stage.refine(FineMaps(fine0, fine1, [0, 0, 0]), Windows(*(part[:0] for part in windows)))
    assert [offsets.shape for offsets in nothing] == [(0, 2), (0, 2)]


@torch.no_grad()
def test_pairs_of_a_batch_are_refined_as_if_alone():
    torch.manual_seed(3)
    stage = FineStage(PRESETS["astr-small"]).eval()
    fine0, fine1 = torch.randn(2, 3, 48, 40, 40)
    windows = some_windows(30)
    both = stage(FineMaps(fine0, fine1, [20, 0, 10]), windows)
    second = stage(FineMaps(fine0[2:], fine1[2:], [10]), Windows(*(part[20:] for part in windows)))
    for together, alone in zip(both.last, second.last, strict=True):
        torch.testing.assert_close(together.offsets[20:], alone.offsets, atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_closer_look_searches_around_the_first_finding():
    torch.manual_seed(4)
    stage = FineStage(PRESETS["astr-small"]).eval()
    fine0, fine1 = torch.randn(2, 1, 48, 40, 40)
    windows = some_windows(40)
    refined = stage(FineMaps(fine0, fine1, [40]), windows)
    for first, last in zip(refined.first, refined.last, strict=True):
        assert torch.equal(first.offsets, first.peak)
        assert not torch.equal(last.offsets, last.peak)
        torch.testing.assert_close(last.start, first.offsets)
        torch.testing.assert_close(last.reach, first.reach * 0.5)
        assert ((last.offsets - last.start).abs() <= last.reach + 1e-4).all()
    # Located in image1 while image0 rests: a match moved by that offset is found where it stands.
    moved = windows._replace(points1=windows.points1 + refined.first[1].offsets)
    tokens0, tokens1 = stage.look(FineMaps(fine0, fine1, [40]), moved, 0.5)
    again = stage.locate(tokens0, tokens1, torch.zeros(40, 2), 0.5 * window_scales(windows.ratios)[1], corrected=True)
    torch.testing.assert_close(refined.first[1].offsets + again.offsets, refined.last[1].offsets)
    one_way = stage(FineMaps(fine0, fine1, [40]), windows, one_way=True)
    torch.testing.assert_close(one_way.last[1].offsets, refined.last[1].offsets)


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(0.0, 0.4))
def test_the_peak_is_found_beside_a_floor(x, y, floor):
    """A whole window's expectation is pulled to the centre by a floor under the peak; the peak's own is not."""
    places = token_places(5, CPU)
    peak = torch.tensor([x, y])
    heat = torch.exp(-(places - peak).square().sum(dim=1) / (2 * 0.25**2))
    log_heat = torch.log((1 - floor) * heat / heat.sum() + floor / 25)[None]
    pulled = (log_heat.exp() @ places - peak).norm()
    off = (expect(log_heat, places)[0] - peak).norm()
    assert off <= 0.1  # tokens stand 0.5 apart
    if floor >= 0.1:  # under a lower one both are off by what the tokens' distance alone does: 0.035
        assert off <= pulled + 0.01
