"""Masks that likely do not say what their makers meant. astr keeps every pixel of a photo whose mask is not zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from astr_cli.images.errors import ImageError
from astr_cli.images.opening import open_image

LOOKED_AT = 3  # masks: those of one folder are made in the same way
NEARLY_BLACK, BRIGHT = 32, 128  # of 255
NOISE = 0.001  # of all pixels
GREY = ("L", "RGB")


def mask_warnings(masks: Mapping[str, Path]) -> Iterator[str]:
    """A line for the first few masks, by name of the photo, whose transparency or faint values may be mistaken."""
    for name in sorted(masks)[:LOOKED_AT]:
        warning = mask_warning(masks[name])
        if warning is not None:
            yield warning


def mask_warning(path: Path) -> str | None:
    """What is odd about a mask; None: nothing, or it cannot be read, which is reported where it is needed."""
    try:
        with open_image(path, str(path), thin=True) as image:
            image.load()
            if "A" in image.getbands() or "transparency" in image.info:
                return _transparent(path, image.convert("RGBA"))
            if image.mode in GREY:
                return _noisy(path, image)
    except ImageError:
        pass
    return None


def _transparent(path: Path, image: Image.Image) -> str | None:
    pixels = np.asarray(image)
    if (pixels[..., 3] == pixels[0, 0, 3]).all():
        return None
    kept = _kept(pixels[..., :3].max(2))
    return (
        f"{path}: its transparency is ignored, only its colours count ({kept:.0%} of the photo is kept); save the "
        "mask in black and white"
    )


def _noisy(path: Path, image: Image.Image) -> str | None:
    """A mask that was a JPEG once has noise around black; labels are few values, and seldom bright ones too."""
    values = np.asarray(image)
    values = values.max(2) if values.ndim == 3 else values
    faint = float(((values > 0) & (values < NEARLY_BLACK)).mean())
    if faint < NOISE or values.max() < BRIGHT:
        return None
    return (
        f"{path}: {faint:.1%} of its pixels are nearly black, and so are kept ({_kept(values):.0%} of the photo is "
        "kept); if that is noise, save the mask in black and white only"
    )


def _kept(values: np.ndarray) -> float:
    return float((values > 0).mean())
