"""The focal length that EXIF gives, in raw pixels; unknown is None and never a guess."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astr_cli.images.catalogue import find_images
from astr_cli.images.info import read_info

FOCAL, FILM, DENSITY, UNIT, EXIF_W, EXIF_H = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002, 0xA003
DRONE = Path(__file__).parents[3] / "shared" / "data" / "scenes" / "brighton-drone" / "images"


def save(path: Path, size: tuple[int, int], tags: dict[int, float]) -> None:
    image = Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8))
    exif = image.getexif()
    exif[0x8769] = tags
    image.save(path, exif=exif)


def focal(folder: Path, size: tuple[int, int], tags: dict[int, float]) -> float | None:
    save(folder / "photo.jpg", size, tags)
    return read_info(folder, "photo.jpg").focal


@pytest.mark.parametrize("size", [(1000, 600), (600, 1000)])
def test_35_mm_equivalent_is_over_the_diagonal(tmp_path: Path, size: tuple[int, int]) -> None:
    assert focal(tmp_path, size, {FOCAL: 7.0, FILM: 35}) == pytest.approx(35 / 43.27 * math.hypot(1000, 600))


@pytest.mark.parametrize(("unit", "density"), [(2, 3810.0), (3, 1500.0), (4, 150.0), (None, 3810.0)])
def test_focal_plane_resolution(tmp_path: Path, unit: int | None, density: float) -> None:
    """24 mm on a sensor of 150 pixels a mm."""
    tags = {FOCAL: 24.0, DENSITY: density, EXIF_W: 5400, EXIF_H: 3600} | ({UNIT: unit} if unit else {})
    assert focal(tmp_path, (5400, 3600), tags) == pytest.approx(3600)
    assert focal(tmp_path, (540, 360), tags) == pytest.approx(360)  # reduced after the camera wrote its EXIF
    assert focal(tmp_path, (360, 540), tags) == pytest.approx(360)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {FOCAL: 24.0},
        {FILM: 0},
        {FOCAL: 24.0, DENSITY: 0.0},
        {FOCAL: 24.0, DENSITY: 1.0},
        {FOCAL: 24.0, DENSITY: 3810.0, UNIT: 9},
        {FOCAL: 24.0, DENSITY: 72.0, UNIT: 2},
        {DENSITY: 3810.0, UNIT: 2},
    ],
)
def test_unknown_stays_unknown(tmp_path: Path, tags: dict[int, float]) -> None:
    assert focal(tmp_path, (1000, 600), tags) is None


def test_broken_exif_is_none(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff\xff\xff"
    Image.fromarray(np.zeros((60, 100, 3), np.uint8)).save(path, exif=broken)
    info = read_info(tmp_path, "photo.jpg")
    assert (info.focal, info.orientation) == (None, 1)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("with_exif", [True, False])
def test_no_pixel_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, with_exif: bool) -> None:
    path = tmp_path / f"photo{suffix}"
    save(path, (100, 60), {FILM: 35})
    if not with_exif:
        Image.fromarray(np.zeros((60, 100, 3), np.uint8)).save(path)
    loads = count_loads(path, monkeypatch)
    assert (read_info(tmp_path, path.name).focal is None) != with_exif
    assert loads == []


@pytest.mark.parametrize("damage", [None, "length", "content"])
def test_the_exif_of_a_png_may_follow_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str | None
) -> None:
    path = tmp_path / "photo.png"
    save(path, (100, 60), {FILM: 35})
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", data[start : start + 4])[0]
    chunk = bytearray(data[start:end])
    if damage == "length":
        chunk[0] = 0x7F
    if damage == "content":
        chunk[8:] = b"\xff" * len(chunk[8:])
    path.write_bytes(data[:start] + data[end:-12] + bytes(chunk) + data[-12:])
    loads = count_loads(path, monkeypatch)
    assert read_info(tmp_path, path.name).focal == (None if damage else pytest.approx(35 / 43.27 * math.hypot(100, 60)))
    assert loads == []


def count_loads(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows whenever an image of this file's format is decoded from now on."""
    loads: list[str] = []
    with Image.open(path) as image:
        monkeypatch.setattr(type(image), "load", lambda self: loads.append("load"))
    return loads


def test_colmap_reads_the_same(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    for number, (size, tags) in enumerate(
        [((1000, 600), {FILM: 35}), ((600, 1000), {FILM: 24}), ((640, 480), {FILM: 50})]
    ):
        path = tmp_path / f"{number}.jpg"
        save(path, size, tags)
        camera = pycolmap.infer_camera_from_image(str(path))
        assert camera.has_prior_focal_length
        assert read_info(tmp_path, path.name).focal == pytest.approx(camera.params[0], rel=1e-6)


@pytest.mark.skipif(not DRONE.is_dir(), reason="../shared/data is not here")
def test_real_drone_photos() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    names = find_images(DRONE)
    assert len(names) == 6
    for name in names:
        info = read_info(DRONE, name)
        assert info.size == (4000, 2250)
        assert info.focal == pytest.approx(pycolmap.infer_camera_from_image(str(DRONE / name)).params[0], rel=1e-6)
