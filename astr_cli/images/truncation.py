"""Whether a photo is complete, from its last bytes where the format allows, so that a catalogue costs no decoding.

A photo cut off by a broken copy has a perfect header: without this test it would fail only hours into a run.
"""

import os
import struct
from pathlib import Path

from PIL import Image

TAIL = 1 << 16
# Second bytes of JPEG markers that no length follows; FF 00 is no marker at all.
BARE = frozenset(bytes([kind]) for kind in (0x00, 0x01, *range(0xD0, 0xDA)))


def ends_early(path: Path, image: Image.Image) -> bool:
    """Whether the file of `image` is certainly cut off. Other formats count as complete. Raises OSError."""
    if image.format in ("JPEG", "MPO"):
        return not _jpeg_has_end(path)
    if image.format == "PNG":
        return b"IEND" not in _tail(path) and b"IEND" not in path.read_bytes()
    if image.format == "TIFF":
        return path.stat().st_size < _tiff_end(image)
    return False


def _tiff_end(image: Image.Image) -> int:
    """The last byte of the strips or tiles that the header lists; 0 when it lists none."""
    tags = getattr(image, "tag_v2", {})
    ends = [0]
    for offsets, lengths in ((273, 279), (324, 325)):
        ends += [at + count for at, count in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)]
    return max(ends)


def _tail(path: Path, start: int = 0) -> bytes:
    """The last 64 KiB of a file, but nothing before byte `start`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(start, size - TAIL))
        return file.read()


def _jpeg_has_end(path: Path) -> bool:
    """Whether an end-of-image mark follows the image data.

    Inside the data FF is always stuffed, so FF D9 is the mark; the one of the EXIF thumbnail lies before the data and
    is ignored, unless the start of the data is not found. Phones append videos after the mark, so the whole
    rest is searched when the tail has none.
    """
    start = _jpeg_data_start(path) or 0
    if b"\xff\xd9" in _tail(path, start):
        return True
    with path.open("rb") as file:
        file.seek(start)
        return b"\xff\xd9" in file.read()


def _jpeg_data_start(path: Path) -> int | None:
    """The position after the first start-of-scan header, walking the segments by their lengths; None: there is none.

    Bytes between two segments are skipped up to the next marker, as decoders do.
    """
    with path.open("rb") as file:
        file.seek(2)
        while byte := file.read(1):
            if byte != b"\xff":
                continue
            while (kind := file.read(1)) == b"\xff":  # fill bytes before a marker
                pass
            length = b"" if kind in BARE else file.read(2)
            if len(length) == 2:
                file.seek(max(0, struct.unpack(">H", length)[0] - 2), os.SEEK_CUR)
            if kind == b"\xda":
                return file.tell()
        return None
