"""Colours of a model's points, from photos of every format that astr reads: COLMAP knows fewer."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.decode import read_colour
from astr_cli.images.errors import ImageError

LEAST = (2000, 2000)  # pixels, (width, height): a larger JPEG is made smaller when decoded, if it is huge
CORNER = 0.5  # COLMAP counts from the corner of the first pixel


def colour_points(model: Any, photos: Path, only: Collection[str] | None = None) -> None:
    """Gives each point of a pycolmap.Reconstruction the mean colour of its observations, in place.

    photos: their folder. Photos that are missing or cannot be read do not count; without any, a point keeps its colour,
    which is black at first. only: photos to look at, by name; None: all.
    """
    ids = np.array(sorted(model.point3D_ids()), np.int64)
    total, count = np.zeros((len(ids), 3)), np.zeros(len(ids))
    for number in sorted(model.reg_image_ids()):
        image = model.image(number)
        seen = image.get_observation_points2D()
        if not len(seen) or (only is not None and image.name not in only):
            continue
        with suppress(ImageError):
            found = read_colour(photos / image.name, LEAST)
            scale = found.pixels.shape[1] / found.size[0]
            colours = colours_at(found.pixels, np.array([each.xy for each in seen]) * scale - CORNER)
            rows = np.searchsorted(ids, [each.point3D_id for each in seen])
            np.add.at(total, rows, colours)
            np.add.at(count, rows, 1)
    mean = np.rint(total / np.maximum(count, 1)[:, None]).astype(np.uint8)
    for number, colour, seen in zip(ids.tolist(), mean, count, strict=True):
        if seen:
            model.point3D(number).color = colour


def colours_at(pixels: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M, 3) colours of an image (h, w, 3) at points (M, 2), bilinear; outside, those of the nearest pixel."""
    height, width = pixels.shape[:2]
    x, y = np.clip(points, 0, (width - 1, height - 1)).T
    left, top = np.minimum(x.astype(np.int64), width - 2), np.minimum(y.astype(np.int64), height - 2)
    left, top = np.maximum(left, 0), np.maximum(top, 0)
    right, low = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - left)[:, None], (y - top)[:, None]
    upper = pixels[top, left] * (1 - across) + pixels[top, right] * across
    lower = pixels[low, left] * (1 - across) + pixels[low, right] * across
    mixed: NDArray[np.float64] = upper * (1 - down) + lower * down
    return mixed
