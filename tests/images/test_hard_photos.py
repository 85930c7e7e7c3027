"""Photos that need care: float colour, AVIF with errors of its own, claims of many pixels, HEIC, and huge ones."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from astr_cli.images import decode
from astr_cli.images import geometry as geometry_module
from astr_cli.images.catalogue import find_images
from astr_cli.images.decode import decoding_bytes, read_colour, read_gray, read_reduced, reduction
from astr_cli.images.errors import ImageError
from astr_cli.images.geometry import resize
from astr_cli.images.gimbal import view_direction
from astr_cli.images.heif import has_heif
from astr_cli.images.info import read_info
from astr_cli.images.masks import read_mask

from .test_reading_photos import HEIGHT, WIDTH, luma, photo_bytes, scene


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiff(tmp_path: Path, kind: type, channels: int) -> None:
    """Case 16."""
    colour = scene()[:, :, ::-1] if channels == 3 else luma()
    assert cv2.imwrite(str(tmp_path / "float.tif"), (colour / 255).astype(kind))
    info = read_info(tmp_path, "float.tif")
    assert (info.size, info.orientation, info.focal) == ((WIDTH, HEIGHT), 1, None)
    low, high = np.percentile(luma(), (0.5, 99.5))
    expected = np.clip((luma() - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(read_gray(tmp_path / "float.tif"), expected, atol=1.1)
    assert read_colour(tmp_path / "float.tif").pixels.shape == (HEIGHT, WIDTH, 3)
    data = (tmp_path / "float.tif").read_bytes()
    for length in (4, 8, 100, len(data) // 2):
        (tmp_path / "cut.tif").write_bytes(data[:length])
        with pytest.raises(ImageError, match="cut"):
            read_info(tmp_path, "cut.tif")
        with pytest.raises(ImageError, match="cut"):
            read_gray(tmp_path / "cut.tif")


def test_avif_raises_errors_of_its_own(tmp_path: Path) -> None:
    """Pillow's plugin raises RuntimeError and others, when it opens and when it decodes."""
    data = photo_bytes("AVIF")
    failed = 0
    for place in [*range(0, 400, 2), *range(400, len(data), max(1, len(data) // 50))]:
        (tmp_path / "a.avif").write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            read_info(tmp_path, "a.avif")
            read_gray(tmp_path / "a.avif")
        except ImageError as error:
            failed += 1
            assert "\n" not in str(error) and "a.avif: " in str(error)
    assert failed >= 10


def claim(data: bytes, width: int, height: int) -> bytes:
    """A JPEG with another size in its header."""
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]


def test_claims_of_many_pixels_in_few_bytes_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (16, 16)).save(buffer, "JPEG")
    (tmp_path / "bomb.jpg").write_bytes(claim(buffer.getvalue(), 30000, 30000))
    message = r"bomb\.jpg: claims 30000x30000 pixels in \d+ bytes, so it is no photo; copy it again$"
    for read in (lambda: read_info(tmp_path, "bomb.jpg"), lambda: read_gray(tmp_path / "bomb.jpg")):
        with pytest.raises(ImageError, match=message):
            read()
    assert view_direction(tmp_path / "bomb.jpg") is None


def test_empty_photos_and_masks_are_no_bombs(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        Image.new("L", (6000, 5000), 7).save(tmp_path / name)
        assert read_info(tmp_path, name).size == (6000, 5000)
    Image.new("1", (6000, 5000), 1).save(tmp_path / "mask.png")
    assert (tmp_path / "mask.png").stat().st_size * 2000 < 6000 * 5000
    assert read_mask(tmp_path / "mask.png", read_info(tmp_path, "a.jpg")).all()


def test_a_mask_of_another_size_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    Image.new("1", (8000, 8000)).save(tmp_path / "mask.png")
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(ImageError, match="is 8000x8000, but the stored pixels"):
        read_mask(tmp_path / "mask.png", read_info(tmp_path, "a.png"))


def test_the_gimbal_of_a_photo_beyond_pillows_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(photo_bytes("JPEG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert view_direction(tmp_path / "a.jpg") is None


def smooth(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(width) / 40, np.arange(height) / 40)
    return np.rint(120 + 50 * np.sin(x) + 50 * np.cos(1.3 * y)).astype(np.uint8)


@pytest.mark.parametrize(("size", "factor"), [((960, 640), 2), ((960, 644), 2), ((962, 646), 2), ((961, 640), 1)])
def test_huge_jpegs_are_made_smaller_while_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], factor: int
) -> None:
    """What the matcher gets is the same: no shift, as the sides are divisible."""
    Image.fromarray(smooth(*size)).save(tmp_path / "a.jpg", quality=98)
    whole = resize(read_gray(tmp_path / "a.jpg"), (192, 128))
    monkeypatch.setattr(decode, "HUGE", 100_000)
    found = read_reduced(tmp_path / "a.jpg", (384, 256))
    assert found.size == size and found.pixels.shape == (size[1] // factor, size[0] // factor)
    assert np.abs(resize(found.pixels, (192, 128)) - whole).max() < 0.01
    assert read_gray(tmp_path / "a.jpg").shape == size[::-1]
    colour = read_colour(tmp_path / "a.jpg", (384, 256))
    assert colour.pixels.shape == (size[1] // factor, size[0] // factor, 3)
    info = read_info(tmp_path, "a.jpg")
    assert decoding_bytes(info, None) == factor**2 * decoding_bytes(info, (384, 256))


def test_reduction() -> None:
    assert reduction((30000, 30000), (1280, 1280)) == 8
    assert reduction((30004, 30000), (1280, 1280)) == 4
    assert reduction((16000, 8000), (1280, 1280)) == 4
    assert reduction((30001, 30000), (1280, 1280)) == 1
    assert reduction((8000, 8000), (1, 1)) == 1  # not huge


@pytest.mark.parametrize("size", [(192, 128), (961, 640), (64, 640)])
def test_resizing_in_strips_is_resizing(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (643, 961), dtype=np.uint8)
    whole = resize(gray, size)
    monkeypatch.setattr(geometry_module, "STRIPS", 1000)
    monkeypatch.setattr(geometry_module, "STRIP", 50 * 961)
    np.testing.assert_allclose(resize(gray, size), whole, atol=2e-6)


MEASURED = """
import resource, sys
from pathlib import Path
from astr_cli.images.info import read_info
from astr_cli.matching.photos.loader import load_image
name = sys.argv[2]
load_image(read_info(Path(sys.argv[1]), "small.jpg"), (64, 64))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gray = load_image(read_info(Path(sys.argv[1]), name), (640, 640))
print(gray.shape, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_follows_what_is_decoded(tmp_path: Path) -> None:
    """A JPEG of 144 megapixels: in float32, twice, it took 1.2 GB."""
    Image.new("L", (64, 64)).save(tmp_path / "small.jpg")
    Image.new("L", (12000, 12000), 90).save(tmp_path / "large.jpg")
    command = [sys.executable, "-c", MEASURED, str(tmp_path), "large.jpg"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found[:2] == ["(640,", "640)"]
    assert int(found[2]) < 150_000  # KiB


def test_heic_needs_the_extra(tmp_path: Path) -> None:
    if has_heif():
        pytest.skip("the extra is installed")
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(
        ImageError, match=r"a\.heic: an HEIC photo needs the extra heic: pip install 'astr-cli\[heic\]'"
    ):
        read_info(tmp_path, "a.heic")
    with pytest.raises(ImageError, match=r"convert a\.heic and similar files .*\(or, for HEIC, pip install"):
        find_images(tmp_path)


@pytest.mark.parametrize("name", ["a.heic", "renamed.jpg"])
def test_heic_is_read_with_the_extra(tmp_path: Path, name: str) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    exif = Image.Exif()
    exif[0x0110] = "X1"
    exif.get_ifd(0x8769)[0xA405] = 28
    image = pillow_heif.from_pillow(Image.fromarray(scene()))
    image.save(tmp_path / name, format="HEIF", quality=95, exif=exif.tobytes())
    info = read_info(tmp_path, name)
    assert info.size == (WIDTH, HEIGHT) and info.focal is not None
    assert np.abs(read_gray(tmp_path / name) - luma()).max() < 12
    assert find_images(tmp_path) == [name]
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-200])
    with pytest.raises(ImageError, match="damaged or cut off"):
        read_gray(tmp_path / name)
