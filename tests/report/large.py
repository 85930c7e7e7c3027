"""A COLMAP model as large as one likes, written directly: photos on a circle around a bumpy disc."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

SIZE, FOCAL = (640, 480), 500.0
SEEN = 3  # photos per point


def write_model(folder: Path, photos: int, points: int) -> list[str]:
    """cameras.bin, images.bin and points3D.bin; SEEN photos in a row see a point. The names of the photos."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"flight {number // 100}/IMG_{number:04}.jpg" for number in range(photos)]
    (folder / "cameras.bin").write_bytes(struct.pack("<QIiQQ3d", 1, 1, 0, *SIZE, FOCAL, SIZE[0] / 2, SIZE[1] / 2))
    first = np.arange(points) * photos // points
    places = rng.uniform(-1, 1, (points, 3)) * (3, 3, 0.3)
    tracks: list[list[int]] = [[] for _ in range(photos)]
    numbers = np.empty((points, SEEN), np.int64)
    for point in range(points):
        for step in range(SEEN):
            image = (int(first[point]) + step) % photos
            numbers[point, step] = len(tracks[image])
            tracks[image].append(point + 1)
    with (folder / "points3D.bin").open("wb") as file:
        file.write(struct.pack("<Q", points))
        for point in range(points):
            colour = (point % 256, 120, 90)
            elements = [
                value for k in range(SEEN) for value in ((int(first[point]) + k) % photos + 1, int(numbers[point, k]))
            ]
            file.write(struct.pack(f"<Q3d3BdQ{2 * SEEN}I", point + 1, *places[point], *colour, 0.5, SEEN, *elements))
    with (folder / "images.bin").open("wb") as file:
        file.write(struct.pack("<Q", photos))
        for image, name in enumerate(names):
            angle = 2 * np.pi * image / photos
            file.write(struct.pack("<I4d3dI", image + 1, np.cos(angle / 2), 0, 0, np.sin(angle / 2), 0, 6, 2, 1))
            file.write(name.encode() + b"\0" + struct.pack("<Q", len(tracks[image])))
            seen = np.zeros(len(tracks[image]), [("x", "<f8"), ("y", "<f8"), ("point", "<i8")])
            seen["x"], seen["y"] = rng.uniform(0, SIZE[0], len(seen)), rng.uniform(0, SIZE[1], len(seen))
            seen["point"] = tracks[image]
            file.write(seen.tobytes())
    return names


def write_photos(folder: Path, names: list[str]) -> None:
    """As detailed as photos are: noise of all sizes."""
    rng = np.random.default_rng(1)
    kinds = []
    for _ in range(10):
        canvas = np.zeros((SIZE[1], SIZE[0], 3))
        for cell in (160, 40, 10, 2):
            rough = rng.normal(0, 12, (-(-SIZE[1] // cell), -(-SIZE[0] // cell), 3))
            canvas += rough.repeat(cell, 0).repeat(cell, 1)[: SIZE[1], : SIZE[0]]
        kinds.append(np.clip(canvas + 128, 0, 255).astype(np.uint8))
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(kinds[number % 10]).save(folder / name, quality=85)


def write_database(path: Path, names: list[str], neighbours: int, matches: int) -> int:
    """Every photo matched with its next `neighbours`; the number of pairs."""
    from astr_cli.sfm.colmap import pycolmap

    rng = np.random.default_rng(2)
    with pycolmap.Database.open(str(path)) as database, pycolmap.DatabaseTransaction(database):
        camera = database.write_camera(pycolmap.Camera.create_from_model_name(1, "SIMPLE_PINHOLE", FOCAL, *SIZE))
        for name in names:
            image = database.write_image(pycolmap.Image(name=name, camera_id=camera))
            database.write_keypoints(image, rng.uniform(0, 480, (2 * matches, 2)).astype(np.float32))
        pairs = 0
        for number in range(len(names)):
            for step in range(1, neighbours + 1):
                other = (number + step) % len(names)
                rows = rng.integers(0, 2 * matches, (matches, 2), np.uint32)
                database.write_matches(number + 1, other + 1, rows)
                geometry = pycolmap.TwoViewGeometry()
                geometry.config, geometry.inlier_matches = 2, rows[: matches * step // (neighbours + 1)]
                database.write_two_view_geometry(number + 1, other + 1, geometry)
                pairs += 1
    return pairs
