"""The index files of ScanNet-1500 in LoFTR's layout: test.npz and intrinsics.npz.

`name` (n, 4) in test.npz has scene, sub-scene and the numbers of two frames; intrinsics.npz has the (3, 3) matrix of
each scene by its name, for frames of 640 x 480. Frame F of scene S is S/color/F.jpg, and S/pose/F.txt its 4 x 4 pose,
camera to world.
"""

from pathlib import Path

import numpy as np

from astr_cli.evaluate.benchmark import EvaluateError, number_pairs, read_sizes
from astr_cli.evaluate.metrics import Array
from astr_cli.evaluate.pose_folder import PoseFolder, posed_view
from astr_cli.evaluate.readers.npz import has_arrays, read_npz
from astr_cli.evaluate.readers.photos import photo_root
from astr_cli.images.geometry import scale_intrinsics

CAMERAS = "intrinsics.npz"
FRAME = (640, 480)  # the size that intrinsics.npz is for


def read_scannet(folder: Path, name: str) -> PoseFolder | None:
    """The pairs of test.npz; None if the two files do not exist. Raises EvaluateError with the file."""
    index, cameras = folder / "test.npz", folder / CAMERAS
    if not (cameras.is_file() and has_arrays(index, "name")):
        return None
    rows = read_npz(index).get("name")
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 4 or rows.dtype.kind not in "iu":
        raise EvaluateError(f"{index}: expected `name` with 4 whole numbers per pair")
    names = [_names(*map(int, row)) for row in rows]
    pairs = number_pairs(names, index)
    images = photo_root(folder, pairs[0].name0, index)
    sizes = read_sizes(images, (photo for both in names for photo in both), index)
    matrices = read_npz(cameras)
    views = {}
    for photo, size in sizes.items():
        scene = photo.split("/")[0]
        if scene not in matrices or np.size(matrices[scene]) != 9:
            raise EvaluateError(f"{cameras}: expected a 3x3 matrix for {scene}")
        intrinsics = scale_intrinsics(np.asarray(matrices[scene], np.float64).reshape(3, 3), FRAME, size)
        pose = _world_to_camera(images / scene / "pose" / f"{Path(photo).stem}.txt")
        views[photo] = posed_view(intrinsics, pose[:3, :3], pose[:3, 3], size, f"{index}: {photo}")
    found = PoseFolder(name=name, root=folder, images=images, pairs=pairs, views=views)
    found.require_baselines(index)
    return found


def _names(scene: int, part: int, frame0: int, frame1: int) -> tuple[str, str]:
    folder = f"scene{scene:04d}_{part:02d}/color"
    return f"{folder}/{frame0}.jpg", f"{folder}/{frame1}.jpg"


def _world_to_camera(path: Path) -> Array:
    """(4, 4) world to camera, from a file with its inverse."""
    try:
        values = np.array([float(word) for word in path.read_text(encoding="utf-8").split()]).reshape(4, 4)
        if not np.isfinite(values).all():
            raise ValueError
        return np.asarray(np.linalg.inv(values))
    except FileNotFoundError:
        raise EvaluateError(f"{path}: no such file; it should hold the pose of the photo") from None
    except (OSError, ValueError):  # LinAlgError is a ValueError
        raise EvaluateError(f"{path}: expected 4x4 numbers, camera to world") from None
