"""Photos on disk: their sizes and EXIF, their pixels, and the way between raw and working coordinates. No torch."""

from .catalogue import Catalogue, catalogue, find_images
from .decode import read_gray
from .drawing import DrawingFolder, Drawn, draw_matches
from .errors import ImageError
from .geometry import resize, scale_intrinsics, to_original, to_working, working_size
from .info import ImageInfo, read_info
from .masks import PackedMask, find_masks, read_mask, shrink_mask
from .upright import UPRIGHT, to_raw, to_upright, turn_intrinsics, turn_pixels, turned, upright_size

__all__ = [
    "UPRIGHT",
    "Catalogue",
    "DrawingFolder",
    "Drawn",
    "ImageError",
    "ImageInfo",
    "PackedMask",
    "catalogue",
    "draw_matches",
    "find_images",
    "find_masks",
    "read_gray",
    "read_info",
    "read_mask",
    "resize",
    "scale_intrinsics",
    "shrink_mask",
    "to_original",
    "to_raw",
    "to_upright",
    "to_working",
    "turn_intrinsics",
    "turn_pixels",
    "turned",
    "upright_size",
    "working_size",
]
