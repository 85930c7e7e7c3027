"""Properties of the whole network, on both presets (figure 2 and section 3 of the paper)."""

import pytest
import torch

from astr_cli.model.aggregation import CrossLayer, Fuse
from astr_cli.model.astr import Astr, MatchSettings
from astr_cli.model.backbone import Features
from astr_cli.model.config import PRESETS, AstrConfig
from astr_cli.model.layers import MapNorm

from .conftest import textured

LOOSE = MatchSettings(threshold=0.0)


def stack(*features: Features) -> Features:
    masks = [f.mask8 for f in features]
    mask = None if masks[0] is None else torch.cat([m for m in masks if m is not None])
    return Features(*(torch.cat([f[k] for f in features]) for k in range(3)), mask)


def rows_by_cells(matches, reference: int) -> dict[tuple[float, ...], tuple[torch.Tensor, float]]:
    """Cell centre in the reference image -> (moved point, score)."""
    on_grid, moved = (
        (matches.keypoints0, matches.keypoints1) if reference == 0 else (matches.keypoints1, matches.keypoints0)
    )
    rows = matches.reference == reference
    return {
        tuple(centre.tolist()): (point, float(score))
        for centre, point, score in zip(on_grid[rows], moved[rows], matches.scores[rows], strict=True)
    }


def test_sizes():
    small = sum(p.numel() for p in Astr(PRESETS["astr-small"]).parameters())
    assert small < 5_000_000
    config = PRESETS["astr"]
    assert (config.stem, config.stages, config.heads) == (128, (128, 196, 256, 256, 256), 8)
    assert config.channels == 256
    assert isinstance(config, AstrConfig)


@torch.no_grad()
def test_features_have_the_documented_shapes(model):
    features = model.extract(textured(0, 64, 96))
    c = model.config.channels
    assert features.coarse32.shape == (1, c, 2, 3)
    assert features.coarse8.shape == (1, c, 8, 12)
    assert features.fine.shape == (1, model.config.fine_map, 32, 48)


@torch.no_grad()
def test_a_batch_equals_its_singles(model):
    images0, images1 = [textured(k, 96, 128) for k in (1, 2)], [textured(k, 128, 96) for k in (3, 4)]
    features0, features1 = [model.extract(i) for i in images0], [model.extract(i) for i in images1]
    joint = model.extract(torch.cat(images0))
    torch.testing.assert_close(joint.coarse8, stack(*features0).coarse8, atol=1e-4, rtol=1e-4)
    batch = model.match(stack(*features0), stack(*features1), settings=LOOSE)
    for index, together in enumerate(batch):
        (alone,) = model.match(features0[index], features1[index], settings=LOOSE)
        assert len(alone.scores) == len(together.scores) > 0
        for reference in (0, 1):
            expected, found = rows_by_cells(alone, reference), rows_by_cells(together, reference)
            assert expected.keys() == found.keys()
            for cell, (point, score) in expected.items():
                torch.testing.assert_close(found[cell][0], point, atol=1e-3, rtol=0)
                assert found[cell][1] == pytest.approx(score, rel=1e-3)


@torch.no_grad()
def test_swapping_the_images_swaps_the_roles(model):
    first, second = model.extract(textured(5, 96, 128)), model.extract(textured(6, 96, 128))
    (forward,) = model.match(first, second, settings=LOOSE)
    (backward,) = model.match(second, first, settings=LOOSE)
    assert len(forward.scores) > 0
    for reference in (0, 1):
        expected = rows_by_cells(forward, reference)
        swapped = backward._replace(keypoints0=backward.keypoints1, keypoints1=backward.keypoints0)
        found = rows_by_cells(swapped._replace(reference=1 - backward.reference), reference)
        assert expected.keys() == found.keys()
        for cell, (point, _) in expected.items():
            torch.testing.assert_close(found[cell][0], point, atol=2e-3, rtol=0)


@torch.no_grad()
def test_rows_are_ordered_and_one_way_is_the_first_half(model):
    features = [model.extract(textured(k, 96, 128)) for k in (7, 8)]
    (both,) = model.match(*features, settings=LOOSE)
    (one,) = model.match(*features, settings=MatchSettings(threshold=0.0, one_way=True))
    half = len(one.scores)
    assert len(both.scores) == 2 * half > 0
    assert (one.reference == 0).all()
    assert (both.reference[half:] == 1).all()
    torch.testing.assert_close(both.keypoints1[:half], one.keypoints1, atol=0, rtol=0)
    assert (both.scores[:half].diff() <= 0).all()
    (few,) = model.match(*features, settings=MatchSettings(threshold=0.0, max_matches=3))
    assert len(few.scores) == 6
    torch.testing.assert_close(few.keypoints0[:3], both.keypoints0[:3], atol=0, rtol=0)


@torch.no_grad()
def test_border_cells_never_match(model):
    features = [model.extract(textured(k, 96, 128)) for k in (9, 10)]
    (matches,) = model.match(*features, settings=LOOSE)
    for reference, points in ((0, matches.keypoints0), (1, matches.keypoints1)):
        cells = (points[matches.reference == reference] - 3.5) / 8
        torch.testing.assert_close(cells, cells.round(), atol=1e-5, rtol=0)  # exactly on cell centres
        assert (cells >= 2).all()
        assert (cells <= torch.tensor([13, 9])).all()


@torch.no_grad()
def test_masked_cells_never_change_a_result(model):
    image0, image1 = textured(11, 96, 128), textured(12, 96, 128)
    mask = torch.ones(1, 96, 128, dtype=torch.bool)
    mask[:, :, 64:] = False
    other = image0.clone()
    other[..., 64:] = torch.rand(1, 1, 96, 64)
    partner = model.extract(image1)
    (first,) = model.match(model.extract(image0, mask), partner, settings=LOOSE)
    (second,) = model.match(model.extract(other, mask), partner, settings=LOOSE)
    assert len(first.scores) > 0
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    assert (first.keypoints0[first.reference == 0][:, 0] < 64).all()


@torch.no_grad()
def test_a_fully_masked_image_matches_nothing(model):
    mask = torch.zeros(1, 96, 128, dtype=torch.bool)
    blind, seeing = model.extract(textured(13, 96, 128), mask), model.extract(textured(14, 96, 128))
    for pair in ((blind, seeing), (seeing, blind), (blind, blind)):
        (matches,) = model.match(*pair, settings=LOOSE)
        assert len(matches.scores) == 0


def test_gradients_reach_every_parameter(model):
    model.zero_grad()
    features = [model.extract(textured(k, 64, 96)) for k in (15, 16)]
    aggregated = model.aggregation(*features, keep_rounds=True)
    cells = torch.arange(3, 20)
    loss = sum(
        m.at(cells * 0, cells, cells).sum() for m in (aggregated.matching, *(r.matching for r in aggregated.rounds))
    )
    from astr_cli.model.coarse import cell_centres
    from astr_cli.model.fine import FineMaps, Windows
    from astr_cli.model.layers import to_tokens

    points = cell_centres(cells, 12)
    coarse = [to_tokens(c)[0, cells] for c in (aggregated.coarse0, aggregated.coarse1)]
    maps = FineMaps(features[0].fine[:1], features[1].fine[:1], [17])
    refined = model.fine(maps, Windows(points, points, torch.ones(17), *coarse))
    (loss + sum(side.offsets.square().sum() for look in refined for side in look)).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    model.zero_grad()


@torch.no_grad()
def test_messages_are_non_zero_in_every_layer(model):
    seen: dict[str, float] = {}
    calls: dict[str, int] = {}

    def watch(name):
        def hook(_module, _inputs, output):
            parts = output if isinstance(output, tuple) else (output,)
            calls[name] = calls.get(name, 0) + 1
            seen[name] = min(seen.get(name, torch.inf), *(float(part.abs().max()) for part in parts))

        return hook

    handles = []
    for name, module in model.aggregation.named_modules():
        if isinstance(module, CrossLayer):
            handles.append(module.merge.register_forward_hook(watch(name + ".merge")))
            handles.append(module.norm.register_forward_hook(watch(name + ".norm")))
        elif isinstance(module, Fuse):
            handles.append(module.project.register_forward_hook(watch(name + ".project")))
    model.aggregation(model.extract(textured(17, 96, 96)), model.extract(textured(18, 96, 96)))
    for handle in handles:
        handle.remove()
    assert all(value > 1e-6 for value in seen.values()), seen
    sets = 1 if model.config.shared_rounds else model.config.rounds
    assert len(seen) == 2 * (2 + 2 * sets) + 2 * sets + 1
    rounds = calls["spot8.0.merge"] // (2 if calls["first8.merge"] == 2 else 1)
    assert rounds == model.config.rounds // sets
    assert isinstance(model.aggregation.first8.norm, MapNorm)


@torch.no_grad()
def test_the_exchange_starts_from_the_values_before_it(model):
    """What goes up and what goes down in one round are computed from the same two maps (figure 2)."""
    seen = {}
    layer = model.aggregation

    def watch(name):
        def hook(_module, inputs):
            seen.setdefault(name, inputs[:2])

        return hook

    handles = [
        layer.up[0].register_forward_pre_hook(watch("up")),
        layer.down[0].register_forward_pre_hook(watch("down")),
    ]
    layer(model.extract(textured(19, 96, 96)), model.extract(textured(20, 96, 96)))
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(seen["up"][0], seen["down"][1], atol=0, rtol=0)
    torch.testing.assert_close(seen["up"][1], seen["down"][0], atol=0, rtol=0)


def test_wrong_shapes_are_refused(model):
    with pytest.raises(ValueError, match="32 m, 32 n"):
        model.extract(torch.zeros(1, 1, 60, 64))
    with pytest.raises(ValueError, match="expected masks"):
        model.extract(torch.zeros(1, 1, 64, 64), torch.ones(1, 32, 32, dtype=torch.bool))
