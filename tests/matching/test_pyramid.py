"""Photos at other sizes: each made once, side by side, the oldest forgotten."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from astr_cli.images.decode import read_gray
from astr_cli.images.errors import ImageError
from astr_cli.images.info import ImageInfo, read_info
from astr_cli.images.masks import PackedMask
from astr_cli.images.upright import turn_pixels
from astr_cli.matching.regions import pyramid
from astr_cli.matching.regions.pyramid import Pyramids

FULL, HALF = (160, 128), (80, 64)
TURNED = 6  # EXIF's code of a quarter turn


@pytest.fixture
def infos(tmp_path: Path, make_photos) -> list[ImageInfo]:
    return [read_info(tmp_path, name) for name in make_photos(tmp_path, 6)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files read so far."""
    names: list[str] = []
    watch(monkeypatch, lambda path: names.append(path.name))
    return names


def watch(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]) -> None:
    def reading(path: Path) -> np.ndarray:
        act(path)
        return read_gray(path)

    monkeypatch.setattr(pyramid, "read_gray", reading)


def test_photos_are_turned_and_resized_with_their_masks(infos: list[ImageInfo]) -> None:
    raw = read_gray(infos[0].path)
    mask = raw > 100
    size = (90, 113)
    found = Pyramids().get(infos[0], PackedMask.of(mask), TURNED, size)
    turned = np.ascontiguousarray(turn_pixels(raw, TURNED))
    assert found.pixels.dtype == np.uint8
    np.testing.assert_array_equal(found.pixels, cv2.resize(turned, size, interpolation=cv2.INTER_AREA))
    assert found.mask is not None
    assert found.mask.shape == found.pixels.shape
    larger = Pyramids().get(infos[0], PackedMask.of(mask), TURNED, (256, 320))
    np.testing.assert_array_equal(larger.pixels, cv2.resize(turned, (256, 320), interpolation=cv2.INTER_LINEAR))
    full = Pyramids().get(infos[0], PackedMask.of(mask), TURNED, (128, 160))
    np.testing.assert_array_equal(full.pixels, turned)
    np.testing.assert_array_equal(full.mask, turn_pixels(mask, TURNED))


def test_a_photo_is_decoded_once_and_each_size_made_once(infos: list[ImageInfo], read: list[str]) -> None:
    pyramids = Pyramids()
    with ThreadPoolExecutor(4) as pool:
        sizes = [((width, height), (height, width)) for width, height in ((113, 90), (80, 64), (113, 90), (160, 128))]
        asked = [(infos[0], None, code, size) for both in sizes for code, size in zip((1, TURNED), both, strict=True)]
        first = list(pool.map(lambda each: pyramids.get(*each), asked))
    assert read == [infos[0].name]
    again = [pyramids.get(*each) for each in asked]
    assert all(np.shares_memory(one.pixels, two.pixels) for one, two in zip(first, again, strict=True))


def test_different_photos_are_decoded_at_once(infos: list[ImageInfo], monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=20)
    watch(monkeypatch, lambda path: both.wait())
    pyramids = Pyramids()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda info: pyramids.get(info, None, 1, HALF), infos[:2]))
    assert [each.pixels.shape for each in found] == [(64, 80)] * 2


def test_a_photo_that_cannot_be_read_is_named_every_time(infos: list[ImageInfo]) -> None:
    pyramids = Pyramids()
    content = infos[0].path.read_bytes()
    infos[0].path.write_bytes(b"")
    for size in (FULL, HALF, FULL):
        with pytest.raises(ImageError, match=infos[0].name):
            pyramids.get(infos[0], None, 1, size)
    infos[0].path.write_bytes(content)
    assert pyramids.get(infos[0], None, 1, HALF).pixels.shape == (64, 80)
