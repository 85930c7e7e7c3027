"""HEIC, which phones take: read by pillow-heif, an extra of astr."""

from __future__ import annotations

import importlib.util

from astr_cli.images.errors import ImageError

HEIF = frozenset({".heic", ".heif", ".hif"})
BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


def is_heif(head: bytes) -> bool:
    """Whether a file with these first 12 bytes, or more, is HEIC."""
    return head[4:8] == b"ftyp" and head[8:12] in BRANDS


def has_heif() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def register_heif(shown: str) -> None:
    """Tells Pillow of the format. Raises ImageError, which names the photo as `shown`: the extra is missing."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise ImageError(
            f"{shown}: an HEIC photo needs the extra heic: pip install 'astr-cli[heic]'; or convert it to JPEG, for "
            "example: magick mogrify -format jpg *.heic"
        ) from None
    register_heif_opener(thumbnails=False)
