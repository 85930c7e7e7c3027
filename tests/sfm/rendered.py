"""Photos of a bumpy wall with a texture, and what a matcher finds between them: exact geometry down to the pixels."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from .conftest import Camera, Relief, Scene, arc, make_scene

SIZE, FOCAL, DISTANCE = (512, 384), 480.0, 9.0
LONG_SIDE = 256  # half of the photos' width
PHOTOS = 5


def texture() -> np.ndarray:
    """(3 FOCAL, 3 FOCAL) grey values; at DISTANCE, one is about as large as a pixel."""
    rough = np.random.default_rng(1).normal(size=(3 * int(FOCAL), 3 * int(FOCAL)))
    smooth = sum(gaussian_filter(rough, sigma, mode="wrap") * sigma for sigma in (1.5, 4.0))
    return np.asarray(128 + 45 * smooth / smooth.std())


def photo(relief: Relief, camera: Camera, skin: np.ndarray, seed: int) -> Image.Image:
    """What the camera sees, with a little noise."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    points = relief.cast(camera, np.column_stack([x.ravel(), y.ravel()]).astype(float))
    place = (points - relief.origin) @ relief.axes.T / relief.unit * FOCAL
    seen = map_coordinates(skin, place.T, order=1, mode="grid-wrap").reshape(y.shape)
    noisy = seen + np.random.default_rng(seed).normal(0, 1.5, seen.shape)
    return Image.fromarray(np.rint(np.clip(noisy, 0, 255)).astype(np.uint8))


def rendered(folder: Path) -> Scene:
    """Writes photos/ and matches.h5; the matcher's noise is 0.3 of its pixels, 0.6 of the photos'."""
    cameras = arc(PHOTOS, SIZE, FOCAL)
    names = [f"{letter}.png" for letter in "abcde"]
    pairs = list(itertools.combinations(range(PHOTOS), 2))
    scene = make_scene(names, cameras, pairs, LONG_SIDE, DISTANCE, coarse=300, outliers=0.03)
    relief, skin = Relief(cameras, DISTANCE), texture()
    (folder / "photos").mkdir()
    for number, (name, camera) in enumerate(zip(names, cameras, strict=True)):
        photo(relief, camera, skin, number).save(folder / "photos" / name)
    scene.write(folder / "matches.h5")
    return scene
