"""Decoding: every kind of file that a photographer may have, and every kind that is broken."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from astr_cli.images.decode import read_gray
from astr_cli.images.errors import ImageError
from astr_cli.images.info import read_info

WIDTH, HEIGHT = 61, 40


def scene() -> np.ndarray:
    """(40, 61, 3) uint8, smooth, dark to the left and bright to the right."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    return np.rint(np.stack([200 * x + 30, 180 * x + 40 * y, 220 * x + 20], axis=-1)).astype(np.uint8)


def luma() -> np.ndarray:
    return scene() @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif", ".ppm", ".jp2", ".gif"])
def test_usual_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(scene()).save(path)
    gray = read_gray(path)
    assert gray.shape == (HEIGHT, WIDTH)
    assert gray.dtype == np.uint8
    assert np.abs(gray - luma()).max() < (20 if suffix == ".gif" else 8)
    info = read_info(tmp_path, path.name)
    assert info.size == (WIDTH, HEIGHT)
    assert info.file_size == path.stat().st_size
    assert info.mtime_ns == path.stat().st_mtime_ns


MODES = [(mode, ".png") for mode in ("L", "LA", "RGBA", "P", "1")] + [
    ("CMYK", ".jpg"),
    ("CMYK", ".tif"),
    ("YCbCr", ".jpg"),
]


@pytest.mark.parametrize(("mode", "suffix"), MODES)
def test_modes(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(scene()).convert(mode).save(path)
    gray = read_gray(path)
    assert gray.shape == (HEIGHT, WIDTH)
    assert gray[:, -10:].mean() > gray[:, :10].mean() + 100


def test_a_jpeg_that_stores_rgb(tmp_path: Path) -> None:
    path = tmp_path / "rgb.jpg"
    Image.fromarray(scene()).save(path, keep_rgb=True, quality=98)
    assert np.abs(read_gray(path) - luma()).max() < 8


DEEP = [(1, ".png"), (3, ".png"), (4, ".png"), (1, ".tif"), (3, ".tif"), (1, ".pgm")]


@pytest.mark.parametrize(("channels", "suffix"), DEEP)
def test_16_bit_is_stretched(tmp_path: Path, channels: int, suffix: str) -> None:
    """A raw-like image that uses a sixteenth of the range comes out with full contrast and fine steps."""
    path = tmp_path / f"deep{suffix}"
    deep = np.rint(1000 + luma() * 16).astype(np.uint16)
    image = deep if channels == 1 else np.stack([deep] * 3 + [np.full_like(deep, 65535)] * (channels - 3), axis=-1)
    assert cv2.imwrite(str(path), image)
    gray = read_gray(path)
    assert gray.dtype == np.uint8
    assert gray.min() == 0 and gray.max() == 255
    low, high = np.percentile(deep, (0.5, 99.5))
    np.testing.assert_allclose(gray, np.clip((deep - low) / (high - low), 0, 1) * 255, atol=0.6)
    assert read_info(tmp_path, path.name).size == (WIDTH, HEIGHT)


def test_float_with_holes_and_flat_images(tmp_path: Path) -> None:
    values = luma().astype(np.float32)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "float.tif")
    gray = read_gray(tmp_path / "float.tif")
    assert gray.min() == 0 and gray.max() == 255
    Image.fromarray(np.full((HEIGHT, WIDTH), 700, np.uint16)).save(tmp_path / "flat.png")
    assert np.ptp(read_gray(tmp_path / "flat.png")) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_read_and_not_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        path = tmp_path / f"turned{suffix}"
        Image.fromarray(scene()).save(path, exif=exif)
        info = read_info(tmp_path, path.name)
        assert (info.size, info.orientation) == ((WIDTH, HEIGHT), orientation)
        assert np.abs(read_gray(path) - luma()).max() < 8
    Image.fromarray(luma().astype(np.uint16)).save(tmp_path / "deep.tif", exif=exif)
    assert np.abs(read_gray(tmp_path / "deep.tif") - (luma() - luma().min()) * 255 / np.ptp(luma())).max() < 8


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_16_bit_colour_tiff_that_was_turned(tmp_path: Path, orientation: int, big: bool) -> None:
    """Neither Pillow (8 bits of it) nor cv2 (turns it, or fails) reads this by itself."""
    path = tmp_path / "deep.tif"
    deep = np.rint(1000 + luma() * 16).astype(np.uint16)
    write_tiff(path, np.stack([deep] * 3, axis=-1), orientation, big)
    assert read_info(tmp_path, "deep.tif").size == (WIDTH, HEIGHT)
    assert read_info(tmp_path, "deep.tif").orientation == orientation
    low, high = np.percentile(deep, (0.5, 99.5))
    np.testing.assert_allclose(read_gray(path), np.clip((deep - low) / (high - low), 0, 1) * 255, atol=0.6)


def write_tiff(path: Path, pixels: np.ndarray, orientation: int, big: bool) -> None:
    """A 16-bit RGB TIFF of one strip: a big-endian one or a little-endian BigTIFF (Pillow reads no other)."""
    order = "<" if big else ">"
    head = b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) if big else b"MM" + struct.pack(">HI", 42, 8)
    count = 10
    after = len(head) + (8 + 20 * count + 8 if big else 2 + 12 * count + 4)
    height, width = pixels.shape[:2]
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, after), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, after + 8), (274, 3, 1, orientation), (277, 3, 1, 3), (278, 3, 1, height)]
    entries += [(279, 4, 1, pixels.nbytes)]
    body = struct.pack("<Q" if big else ">H", count)
    for tag, kind, number, value in entries:
        field = struct.pack(order + ("H" if kind == 3 else "I"), value)
        if tag == 258:  # three shorts fit into an entry of BigTIFF, else the entry says where they are
            field = struct.pack("<3H", 16, 16, 16) if big else struct.pack(">I", value)
        body += struct.pack("<HHQ" if big else ">HHI", tag, kind, number) + field.ljust(8 if big else 4, b"\0")
    body += bytes(8 if big else 4)
    path.write_bytes(head + body + struct.pack(order + "4H", 16, 16, 16, 0) + pixels.astype(order + "u2").tobytes())


def photo_bytes(image_format: str, **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_cut_off_photos_are_found_from_header_and_tail(tmp_path: Path, image_format: str, share: float) -> None:
    data = photo_bytes(image_format)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    assert read_info(tmp_path, "photo.jpg").size == (300, 200)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=r"^photo\.jpg: .*cut off"):
        read_info(tmp_path, "photo.jpg")
    with pytest.raises(ImageError, match="cut off"):
        read_gray(path)


def test_a_thumbnail_is_not_taken_for_the_end(tmp_path: Path) -> None:
    """EXIF may hold a whole small JPEG with its own end mark."""
    thumbnail = photo_bytes("JPEG", quality=10)[:30000]
    marker = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + b""
    data = photo_bytes("JPEG")
    path = tmp_path / "photo.jpg"
    whole = data[:2] + marker + data[2:]
    path.write_bytes(whole)
    assert read_info(tmp_path, "photo.jpg").size == (300, 200)
    path.write_bytes(whole[: len(marker) + 2000])
    with pytest.raises(ImageError, match="cut off"):
        read_info(tmp_path, "photo.jpg")


def test_what_telephones_append_does_no_harm(tmp_path: Path) -> None:
    for image_format in ("JPEG", "PNG"):
        (tmp_path / "photo").write_bytes(photo_bytes(image_format) + b"\0" * 200_000)
        assert read_info(tmp_path, "photo").size == (300, 200)
        assert read_gray(tmp_path / "photo").shape == (200, 300)


@pytest.mark.parametrize("junk", [b"\0\0", b"\x12\x34\x56", b"\xff\xff\xff", b"\xff\x00", b"\xff\xd0"])
def test_junk_between_the_segments_of_a_jpeg(tmp_path: Path, junk: bytes) -> None:
    data = photo_bytes("JPEG")
    path = tmp_path / "photo.jpg"
    for place in (data.index(b"\xff\xdb"), data.index(b"\xff\xc0")):
        whole = data[:place] + junk + data[place:]
        path.write_bytes(whole)
        assert read_info(tmp_path, "photo.jpg").size == (300, 200)
        assert read_gray(path).shape == (200, 300)
        path.write_bytes(whole[:20_000])
        with pytest.raises(ImageError, match="cut off"):
            read_info(tmp_path, "photo.jpg")


def test_photos_of_200_megapixels_are_read_and_bombs_are_not(tmp_path: Path) -> None:
    data = bytearray(photo_bytes("JPEG"))
    frame = data.index(b"\xff\xc0") + 5
    for size, name in (((16320, 12240), "phone.jpg"), ((40000, 30000), "bomb.jpg")):
        data[frame : frame + 4] = struct.pack(">HH", *size[::-1])
        (tmp_path / name).write_bytes(data + bytes(100_000))  # a photo of that size is not smaller
    assert read_info(tmp_path, "phone.jpg").size == (16320, 12240)
    with pytest.raises(ImageError, match=r"^bomb\.jpg: larger than 1000 megapixels; save a smaller copy$"):
        read_info(tmp_path, "bomb.jpg")


@pytest.mark.parametrize("image_format", ["TIFF", "PNG", "WEBP", "JPEG"])
def test_the_limit_of_others_in_the_process_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_format: str
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (tmp_path / "photo").write_bytes(photo_bytes(image_format))
    assert read_info(tmp_path, "photo").size == (300, 200)
    assert read_gray(tmp_path / "photo").shape == (200, 300)
    with pytest.raises(ImageError):
        read_gray(tmp_path / "gone")
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_cut_off_deep_colour(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (200, 300, 3), dtype=np.uint16)
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:150_000])
    with pytest.raises(ImageError, match="cut off"):
        read_gray(path)


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\0" * 100


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jpg", b"", "the file is empty"),
        ("text.jpg", b"not a photo at all\n" * 20, "not an image"),
        ("photo.HEIC", HEIC, r"HEIC photo needs the extra heic: pip install 'astr-cli\[heic\]'|damaged or cut off"),
        ("renamed.jpg", HEIC, r"HEIC photo needs the extra heic: pip install 'astr-cli\[heic\]'|damaged or cut off"),
        ("photo.CR2", b"II*\0" + b"\0" * 100, r"RAW file \(\.cr2\) cannot be read; develop it"),
        ("photo.nef", b"", "RAW file"),
        ("photo.dng", b"", "RAW file"),
        ("photo.arw", b"", "RAW file"),
        ("header.jpg", b"\xff\xd8\xff\xe0", "header|not an image|cut off"),
        ("header.png", photo_bytes("PNG")[:20], "header|not an image|cut off"),
    ],
)
def test_what_is_no_photo_gets_one_clear_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (lambda: read_info(tmp_path, name), lambda: read_gray(tmp_path / name)):
        with pytest.raises(ImageError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def test_missing_and_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(ImageError, match=r"^gone\.jpg: no such file; check the name$"):
        read_info(tmp_path, "gone.jpg")
    with pytest.raises(ImageError, match=r"^folder\.jpg: is a folder"):
        read_info(tmp_path, "folder.jpg")
    with pytest.raises(ImageError, match="is a folder"):
        read_gray(tmp_path / "folder.jpg")


def test_random_damage_never_raises_anything_else(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    path = tmp_path / "photo"
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        data = photo_bytes(image_format)
        for _ in range(25):
            broken = bytearray(data)
            for _ in range(int(generator.integers(1, 30))):
                broken[int(generator.integers(0, 400 if generator.random() < 0.5 else len(data)))] ^= 0xFF
            path.write_bytes(bytes(broken))
            try:
                read_info(tmp_path, "photo")
                assert read_gray(path).ndim == 2
            except ImageError as error:
                assert "\n" not in str(error)
