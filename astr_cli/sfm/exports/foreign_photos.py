"""Photos in formats that COLMAP does not read (WebP, AVIF, HEIC and others), as PNG, and a model that names these."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from astr_cli.images.decode import read_colour
from astr_cli.images.info import read_info
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.cameras import COLMAP_READS


class ReadableModel(NamedTuple):
    """A model folder and the folder of its photos, all of which COLMAP reads."""

    model: Path
    photos: Path


def readable_model(model: Path, photos: Path, scratch: Path, alive: Callable[[], None]) -> ReadableModel:
    """The model as it is, or one in `scratch` with links to the photos and a.webp.png in place of a.webp.

    Raises ImageError: a photo that astr does not read either; OSError: cannot be written.
    """
    made = read_model(model)
    images = list(made.images.values())
    foreign = {image.name for image in images if read_info(photos, image.name).format not in COLMAP_READS}
    if not foreign:
        return ReadableModel(model, photos)
    result = ReadableModel(scratch / "model", scratch / "photos")
    result.model.mkdir()
    for image in images:
        alive()
        name = image.name
        target = result.photos / (f"{name}.png" if name in foreign else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in foreign:
            Image.fromarray(read_colour(photos / name).pixels).save(target, compress_level=1)
            image.name = f"{name}.png"
        else:
            _link(photos / name, target)
    made.write(result.model)
    return result


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.resolve())
    except OSError:  # a file system without links, or Windows without the right to make them
        shutil.copyfile(source, target)
