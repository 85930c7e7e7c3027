"""The one door to pycolmap: how it is loaded, and how much of its log gets through."""

from __future__ import annotations

import zlib  # noqa: F401  (first: see below)
from collections.abc import Iterator
from contextlib import contextmanager

from astr_cli.errors import AstrError

# pycolmap 4.2 exports a zlib of its own. Loaded before the system's, it captures half of its calls, and the next PNG
# that Pillow or OpenCV writes ends the process with "free(): invalid pointer". Python's zlib module loads the latter.
try:
    import pycolmap
except ImportError as error:
    raise AstrError(f"pycolmap cannot be loaded ({error}); install it: pip install pycolmap") from None

__all__ = ["pycolmap", "quiet"]


@contextmanager
def quiet(errors: bool = True) -> Iterator[None]:
    """Holds back COLMAP's notes and warnings on standard error, and with errors=False its errors too.

    The latter is for calls that raise what they complain of.
    """
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.ERROR if errors else pycolmap.logging.FATAL)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
