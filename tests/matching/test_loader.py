"""Decode threads: bounded, and every way that a photo can break between listing and decoding."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astr_cli.images.errors import ImageError
from astr_cli.images.info import ImageInfo, read_info
from astr_cli.matching.photos.geometry import PhotoGeometry
from astr_cli.matching.photos.loader import Loader, changed, load_image

WORKING = (96, 64)


@pytest.fixture
def infos(tmp_path: Path, make_photos) -> dict[str, ImageInfo]:
    return {name: read_info(tmp_path, name) for name in make_photos(tmp_path, 6)}


def loader(infos: dict[str, ImageInfo], workers: int = 1) -> Loader:
    return Loader(infos, dict.fromkeys(infos, PhotoGeometry((160, 128), WORKING, None)), workers)


def test_images_come_resized_in_any_order(infos: dict[str, ImageInfo]) -> None:
    names = list(infos)
    with closing(loader(infos, 2)) as loading:
        loading.prefetch(names[:3])
        for name in (names[5], names[1], names[0]):
            gray, mask, raw_mask = loading.take(name)
            assert mask is raw_mask is None
            assert gray.shape == (64, 96)
            assert gray.dtype == np.float32
            np.testing.assert_array_equal(gray, load_image(infos[name], WORKING))


def test_what_waits_is_bounded(infos: dict[str, ImageInfo]) -> None:
    names = list(infos)
    with closing(loader(infos)) as loading:
        loading.prefetch(names)
        assert loading.full()
        loading.take(names[0])
        assert not loading.full()
        loading.prefetch([names[1], names[4]])
        assert loading.full()


def test_a_photo_that_vanished_is_named(infos: dict[str, ImageInfo]) -> None:
    name, info = next(iter(infos.items()))
    info.path.unlink()
    assert changed(info)
    with closing(loader(infos)) as loading:
        loading.prefetch([name])
        with pytest.raises(ImageError, match=name):
            loading.take(name)


def test_a_photo_that_was_written_to_is_refused(infos: dict[str, ImageInfo]) -> None:
    info = next(iter(infos.values()))
    os.utime(info.path, ns=(1, 1))
    with pytest.raises(ImageError, match="changed"):
        load_image(info, WORKING)


def test_a_photo_of_another_size_than_its_header_said_is_refused(tmp_path: Path, infos: dict[str, ImageInfo]) -> None:
    info = next(iter(infos.values()))
    Image.new("L", (50, 40)).save(tmp_path / "other.png")
    other = read_info(tmp_path, "other.png")
    with pytest.raises(ImageError, match=r"160x128.*50x40"):
        load_image(ImageInfo(**{**vars(other), "width": info.width, "height": info.height}), WORKING)
