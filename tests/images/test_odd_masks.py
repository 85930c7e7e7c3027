"""Masks that are read as they are, with a warning: made transparent, or noisy around black."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astr_cli.images.mask_checks import mask_warning, mask_warnings

KEPT = np.arange(60 * 100).reshape(60, 100) % 100 > 40


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_sound_masks(mode: str, tmp_path: Path) -> None:
    Image.fromarray(KEPT.astype(np.uint8) * 255).convert(mode).save(tmp_path / "mask.png")
    assert mask_warning(tmp_path / "mask.png") is None


def test_labels_and_damaged_masks(tmp_path: Path) -> None:
    Image.fromarray(KEPT.astype(np.uint8) * 7).save(tmp_path / "labels.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert not list(mask_warnings({name: tmp_path / name for name in ("labels.png", "broken.png", "none.png")}))


def test_transparency_is_told(tmp_path: Path) -> None:
    pixels = np.full((60, 100, 4), 255, np.uint8)
    pixels[..., 3] = KEPT * 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    warning = mask_warning(tmp_path / "mask.png")
    assert warning is not None and "its transparency is ignored" in warning and "(100% of the photo is kept)" in warning


def test_noise_is_told_once_per_mask_and_for_a_few_only(tmp_path: Path) -> None:
    pixels = np.where(KEPT, 255, np.random.default_rng(0).integers(0, 4, KEPT.shape)).astype(np.uint8)
    masks = {}
    for number in range(5):
        masks[f"{number}.jpg"] = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(masks[f"{number}.jpg"])
    warnings = list(mask_warnings(masks))
    assert len(warnings) == 3 and all("of its pixels are nearly black" in warning for warning in warnings)
