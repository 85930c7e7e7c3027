"""Mask files: zero leaves out, whatever else keeps, in every depth."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from astr_cli.images.errors import ImageError
from astr_cli.images.info import ImageInfo, read_info
from astr_cli.images.masks import read_mask

KEPT = np.arange(60 * 100).reshape(60, 100) % 7 > 2


@pytest.fixture
def info(tmp_path: Path) -> ImageInfo:
    Image.fromarray(np.zeros((60, 100), np.uint8)).save(tmp_path / "photo.png")
    return read_info(tmp_path, "photo.png")


@pytest.mark.parametrize("value", [1, 127, 1000, 65535])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_masks(tmp_path: Path, info: ImageInfo, value: int, channels: int) -> None:
    pixels = (KEPT * value).astype(np.uint16)
    alpha = np.full_like(pixels, 65535)
    image = pixels if channels == 1 else np.stack([pixels, *[0 * pixels] * 2, alpha][:channels], axis=-1)
    cv2.imwrite(str(tmp_path / "mask.png"), image)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", info), KEPT)


@pytest.mark.parametrize("value", [1, 65535])
def test_deep_masks_of_one_value_and_labels(tmp_path: Path, info: ImageInfo, value: int) -> None:
    Image.fromarray(np.full((60, 100), value, np.uint16)).save(tmp_path / "flat.png")
    assert read_mask(tmp_path / "flat.png", info).all()
    Image.fromarray(np.zeros((60, 100), np.uint16)).save(tmp_path / "black.png")
    assert not read_mask(tmp_path / "black.png", info).any()
    labels = np.where(KEPT, 1, 1000).astype(np.uint16)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    assert read_mask(tmp_path / "labels.png", info).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_8_bit_masks(tmp_path: Path, info: ImageInfo, mode: str) -> None:
    Image.fromarray(KEPT.astype(np.uint8) * 255).convert(mode).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", info), KEPT)


def test_the_faintest_colour_keeps(tmp_path: Path, info: ImageInfo) -> None:
    colour = np.zeros((60, 100, 3), np.uint8)
    colour[..., 2] = KEPT  # blue 1 of 255: a luma of zero
    Image.fromarray(colour).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", info), KEPT)


def test_a_mask_of_another_size_or_cut_off_is_refused(tmp_path: Path, info: ImageInfo) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (60, 100), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "mask.png"), noise)
    with pytest.raises(ImageError, match=r"is 100x60, but the stored pixels of photo\.png are 50x60"):
        read_mask(tmp_path / "mask.png", replace(info, width=50))
    data = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="cut off"):
        read_mask(tmp_path / "mask.png", info)
