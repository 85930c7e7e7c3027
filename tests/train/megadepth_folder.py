"""A folder of MegaDepth in LoFTR's layout: three photos of a known plane."""

import math
import pickle
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from astr_cli.train.frames import Crop
from astr_cli.train.megadepth import FrameFiles, MegadepthSet

WIDTH, HEIGHT = 200, 150
INTRINSICS = np.array(((190.0, 0, 99.3), (0, 187.0, 74.1), (0, 0, 1)))  # pixel centres at whole numbers
HALF = np.array(((0, 0, 0.5), (0, 0, 0.5), (0, 0, 0)))
PLANE = np.array((0.03, -0.05, 0.25))  # PLANE @ X = 1
NUMBERS = {0: 1, 1: 2, 2: 4}  # in the index, which has gaps


def pose_of(view: int) -> np.ndarray:
    """World to camera; no camera is the world."""
    turned, _ = cv2.Rodrigues(np.array((0.02 - 0.01 * view, 0.05 - 0.06 * view, 0.03 * view)))
    pose = np.eye(4)
    pose[:3, :3] = turned
    pose[:3, 3] = -turned @ (0.4 * view - 0.3, 0.1 * view, 0.2 - 0.3 * view)
    return pose


def on_plane(view: int, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World points (N, 3) and z-depths (N,) of pixels (N, 2) of a photo."""
    pose = pose_of(view)
    rays = np.c_[pixels, np.ones(len(pixels))] @ np.linalg.inv(INTRINSICS).T @ pose[:3, :3]
    centre = -pose[:3, :3].T @ pose[:3, 3]
    z = (1 - PLANE @ centre) / (rays @ PLANE)
    return centre + z[:, None] * rays, z


def project(view: int, points: np.ndarray) -> np.ndarray:
    """Pixels (N, 2) of world points (N, 3) in a photo."""
    pose = pose_of(view)
    image = (points @ pose[:3, :3].T + pose[:3, 3]) @ INTRINSICS.T
    return image[:, :2] / image[:, 2:]


def seen(view: int, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey 0 to 1 and z-depth (N,)."""
    points, z = on_plane(view, pixels)
    return 0.5 + 0.2 * np.sin(7 * points[:, 0]) + 0.2 * np.cos(6 * points[:, 1] + 2 * points[:, 0]), z


def to_crop(crop: Crop, side: int, pixels: np.ndarray) -> np.ndarray:
    cos, sin = math.cos(crop.roll), math.sin(crop.roll)
    return (pixels - (crop.x, crop.y)) @ np.array(((cos, -sin), (sin, cos))) * (side / crop.extent) + (side - 1) / 2


def to_photo(crop: Crop, side: int, pixels: np.ndarray) -> np.ndarray:
    cos, sin = math.cos(crop.roll), math.sin(crop.roll)
    return (pixels - (side - 1) / 2) @ np.array(((cos, sin), (-sin, cos))) * (crop.extent / side) + (crop.x, crop.y)


def photo_name(view: int) -> str:
    return f"Undistorted_SfM/0001/images/{view}.png"


def depth_name(view: int) -> str:
    return f"phoenix/S6/zl548/MegaDepth_v1/0001/dense0/depths/{view}.h5"


def write_depth(path: Path, depth: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["depth"] = depth.astype(np.float32)


def whole_grid() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float)), -1).reshape(-1, 2)


def of_objects(items: list[Any]) -> np.ndarray:
    array = np.empty(len(items), object)
    for place, item in enumerate(items):
        array[place] = item
    return array


def index_content(*pairs: tuple[int, int, float]) -> dict[str, Any]:
    """As in LoFTR's files: gaps in the numbers, COLMAP's pixel centres; pairs are (view, view, overlap)."""
    lists: dict[str, list[Any]] = {key: [None] * 5 for key in ("image_paths", "depth_paths", "intrinsics", "poses")}
    for view, number in NUMBERS.items():
        entry = photo_name(view), depth_name(view), INTRINSICS + HALF, pose_of(view)
        for values, value in zip(lists.values(), entry, strict=True):
            values[number] = value
    infos = [(np.array([NUMBERS[a], NUMBERS[b]]), share, np.zeros((2, 6))) for a, b, share in pairs]
    return {**{key: of_objects(values) for key, values in lists.items()}, "pair_infos": of_objects(infos)}


def write_index(root: Path, name: str, content: dict[str, Any]) -> Path:
    """A pickled dict under the name .npz, as LoFTR's training files are."""
    path = root / "index" / "scene_info_0.1_0.7" / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, 3))
    return path


def files_of(found: MegadepthSet, view: int) -> FrameFiles:
    frames = (files for scene in found.scenes for files in scene.frames.values())
    return next(files for files in frames if files.image.stem == str(view))


def make_folder(tmp_path: Path) -> Path:
    """Photos and depths below megadepth/train, with a hole in each depth, and two index files."""
    top = tmp_path / "megadepth"
    for view in NUMBERS:
        grey, z = (values.reshape(HEIGHT, WIDTH) for values in seen(view, whole_grid()))
        photo = top / "train" / photo_name(view)
        photo.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(photo), np.round(grey * 255).astype(np.uint8))
        z[40:52, 60:75] = 0
        write_depth(top / "train" / depth_name(view), z)
    write_index(top, "0001_0.1_0.3", index_content((0, 2, 0.2)))
    archive = write_index(top, "0001_0.3_0.5", {})
    np.savez(archive, **index_content((0, 1, 0.4), (1, 2, 0.3)))
    return top
