"""EXIF of a PNG without its pixels: Pillow decodes them all to see whether an eXIf chunk follows them."""

import struct
from pathlib import Path

from PIL import Image


def png_exif(path: Path, image: Image.Image) -> Image.Exif:
    """The EXIF of `image`, a PNG from `path` that was opened and not loaded; empty when it has none.

    The eXIf chunk counts wherever it stands. Text chunks (XMP, ImageMagick's raw profile) count before the pixels only.
    Raises Pillow's errors for broken EXIF, and OSError.
    """
    if "exif" not in image.info:
        behind = _chunk(path, b"eXIf")
        if behind is not None:
            image.info["exif"] = b"Exif\0\0" + behind
    return Image.Image.getexif(image)  # a PNG's own getexif loads the image first


def _chunk(path: Path, kind: bytes) -> bytes | None:
    """The data of the first chunk of that kind, found by the lengths of those before it; None without a whole one."""
    with path.open("rb", buffering=0) as file:
        at = 8
        while True:
            file.seek(at)
            head = file.read(8)
            if len(head) < 8:
                return None
            (length,) = struct.unpack(">I", head[:4])
            if head[4:] == kind:
                data = file.read(length)
                return data if len(data) == length else None
            at += length + 12
