"""Index files of MegaDepth in LoFTR's layout, such as the five of MegaDepth-1500. Those of a folder are one benchmark.

Each .npz contains `image_paths` (POSIX, from the image root), `intrinsics` (3, 3) and `poses` (4, 4), world to camera,
by the number of the photo (None where there is none), and `pair_infos`: ((i, j), overlap, ...). `depth_paths` are
for training only. The cameras are COLMAP's: the centre of the top-left pixel is at (0.5, 0.5).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.evaluate.benchmark import EvaluateError, number_pairs, read_sizes
from astr_cli.evaluate.metrics import Array
from astr_cli.evaluate.pose_folder import PoseFolder, posed_view
from astr_cli.evaluate.readers.npz import has_arrays, read_npz
from astr_cli.evaluate.readers.photos import photo_root

KEYS = ("image_paths", "intrinsics", "poses", "pair_infos")


class MegaDepthCamera(NamedTuple):
    """The camera of a photo, and the index file that it comes from."""

    source: Path
    intrinsics: Array  # (3, 3), the centre of the top-left pixel at (0.5, 0.5)
    pose: Array  # (4, 4) world to camera


def read_megadepth(folder: Path, name: str) -> PoseFolder | None:
    """The pairs of all index files of a folder; None if it has none. Raises EvaluateError with the file."""
    cameras: dict[str, MegaDepthCamera] = {}
    names: dict[frozenset[str], tuple[str, str]] = {}  # a scene has several files by overlap, so a pair may occur twice
    for path in sorted(folder.glob("*.npz")):
        content = read_npz(path) if has_arrays(path, *KEYS) else {}
        if all(key in content for key in KEYS):
            for both in _pairs(content, path, cameras):
                names.setdefault(frozenset(both), both)
    if not names:
        return None
    pairs = number_pairs(names.values(), folder)
    images = photo_root(folder, pairs[0].name0, cameras[pairs[0].name0].source)
    sizes = read_sizes(images, cameras, folder)
    views = {}
    for photo, camera in cameras.items():
        ours = camera.intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
        rotation, translation = camera.pose[:3, :3], camera.pose[:3, 3]
        views[photo] = posed_view(ours, rotation, translation, sizes[photo], f"{camera.source}: {photo}")
    found = PoseFolder(name=name, root=folder, images=images, pairs=pairs, views=views)
    found.require_baselines(folder)
    return found


def _pairs(content: dict[str, Any], path: Path, cameras: dict[str, MegaDepthCamera]) -> list[tuple[str, str]]:
    """The pairs of a file; adds the cameras of their photos to `cameras`."""
    found = []
    for row, info in enumerate(content["pair_infos"]):
        try:
            first, second = (int(index) for index in info[0])
            both = (_camera(content, first, path, cameras), _camera(content, second, path, cameras))
        except (TypeError, ValueError, IndexError):
            raise EvaluateError(f"{path}: pair {row + 1}: expected the numbers of two photos with cameras") from None
        found.append(both)
    return found


def _camera(content: dict[str, Any], index: int, path: Path, cameras: dict[str, MegaDepthCamera]) -> str:
    """Adds the camera of photo `index` to `cameras` and returns its name."""
    name = content["image_paths"][index]
    if index < 0 or not isinstance(name, str):
        raise ValueError
    intrinsics = np.asarray(content["intrinsics"][index], np.float64).reshape(3, 3)
    pose = np.asarray(content["poses"][index], np.float64).reshape(4, 4)
    known = cameras.setdefault(name, MegaDepthCamera(path, intrinsics, pose))
    if not (np.allclose(known.intrinsics, intrinsics) and np.allclose(known.pose, pose)):
        raise EvaluateError(f"{path}: {name} has another camera in {known.source}; use separate folders")
    return name
