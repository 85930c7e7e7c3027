"""Photometric changes and procedural textures."""

import pytest
import torch

from astr_cli.scenes.photometric import photometric
from astr_cli.scenes.textures import procedural_textures


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(64, 64), (60, 100), (33, 47)])
def test_photometric_keeps_shape_and_range(size: tuple[int, int]) -> None:
    images = procedural_textures(5, size, seeded(0))
    before = images.clone()
    changed = photometric(images, seeded(1))
    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert torch.isfinite(changed).all() and changed.min() >= 0 and changed.max() <= 1
    assert torch.equal(images, before)


def test_photometric_is_drawn_apart_for_each_image_and_repeats_with_the_seed() -> None:
    image = procedural_textures(1, (64, 64), seeded(3)).expand(6, 1, 64, 64)
    changed = photometric(image, seeded(1))
    assert torch.equal(changed, photometric(image, seeded(1)))
    for a in range(6):
        for b in range(a):
            assert (changed[a] - changed[b]).abs().mean() > 0.01


def test_photometric_is_strong_but_leaves_structure() -> None:
    images = procedural_textures(64, (64, 64), seeded(5))
    changed = photometric(images, seeded(6))
    assert (changed - images).abs().mean() > 0.08
    a, b = (part.flatten(1) - part.flatten(1).mean(1, keepdim=True) for part in (images, changed))
    correlation = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-6)
    assert correlation.median() > 0.6
    assert (b.std(dim=1) > 0.005).float().mean() > 0.95


@pytest.mark.parametrize("count", [0, 1, 9])
def test_textures_have_contrast_and_repeat_with_the_seed(count: int) -> None:
    textures = procedural_textures(count, (96, 128), seeded(2))
    assert textures.shape == (count, 1, 96, 128)
    assert torch.equal(textures, procedural_textures(count, (96, 128), seeded(2)))
    if count:
        assert textures.min() >= 0 and textures.max() <= 1
        assert textures.flatten(1).std(dim=1).min() > 0.04
