"""Photos on disk: their sizes and EXIF, their pixels, and the way between raw and working coordinates. No torch."""

from .catalogue import Catalogue, catalogue, find_images
from .decode import read_gray
from .errors import ImageError
from .geometry import resize, scale_intrinsics, to_original, to_working, working_size
from .info import ImageInfo, read_info

__all__ = [
    "Catalogue",
    "ImageError",
    "ImageInfo",
    "catalogue",
    "find_images",
    "read_gray",
    "read_info",
    "resize",
    "scale_intrinsics",
    "to_original",
    "to_working",
    "working_size",
]
