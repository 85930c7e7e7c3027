"""TIFF in raw orientation: Pillow and cv2 both rotate its pixels by their tag, and neither can switch that off."""

import struct

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin


class OtherTiff(ImageFile.ImageFile):
    """A TIFF whose pixels Pillow does not know, such as RGB in float32: its header. cv2 knows the pixels of some."""

    HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    format = "TIFF"

    def _open(self) -> None:
        if self.fp is None:
            raise SyntaxError("not open")
        head = self.fp.read(8)
        head += self.fp.read(8) if head[2:4] in (b"+\0", b"\0+") else b""  # BigTIFF
        self.tag_v2 = TiffImagePlugin.ImageFileDirectory_v2(head)
        self.fp.seek(self.tag_v2.next)
        self.tag_v2.load(self.fp)
        if not {ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength} <= self.tag_v2.keys():
            raise SyntaxError("its header is missing")
        self._size = raw_size(self)
        self._mode = "RGB"


def raw_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of the pixels as stored, of an image that was opened and not loaded."""
    if image.format != "TIFF":
        return image.size
    tags = getattr(image, "tag_v2", {})
    return int(tags[ExifTags.Base.ImageWidth]), int(tags[ExifTags.Base.ImageLength])


def is_turned(image: Image.Image) -> bool:
    """Whether loading this image would rotate it."""
    return image.format == "TIFF" and getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation, 1) != 1


def without_orientation(data: bytes) -> bytes:
    """The TIFF file `data` with the orientation of its first image set to 1. Raises struct.error when damaged."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43  # BigTIFF: 64-bit counts
    (directory,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, directory)
    changed = bytearray(data)
    for index in range(count):
        entry = directory + (8 + 20 * index if big else 2 + 12 * index)
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag == ExifTags.Base.Orientation:
            struct.pack_into(order + ("H" if kind == 3 else "I"), changed, entry + (12 if big else 8), 1)
    return bytes(changed)
