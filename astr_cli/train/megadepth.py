"""MegaDepth in LoFTR's layout, as training pairs.

Index files (.npz) are anywhere below a folder, several per scene: index/scene_info_0.1_0.7/0001_0.1_0.3.npz etc.
Each has `image_paths`, `depth_paths` (POSIX, from one root such as train/), `intrinsics` (3, 3) and `poses` (4, 4),
world to camera, by the number of the photo, and `pair_infos`: ((i, j), overlap, ...). A depth map is HDF5: a dataset
`depth`, the size of its photo, 0 = unknown, in the unit of the poses. The cameras are COLMAP's: the centre of the
top-left pixel is at (0.5, 0.5). Depth comes from stereo on the photos themselves, so it is aligned with them,
unlike the depth of a sensor. LoFTR trains its fine stage on it, and so does astr.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt
import torch

from astr_cli.errors import AstrError
from astr_cli.evaluate.benchmark import require_photo_name
from astr_cli.evaluate.pose_folder import posed_view
from astr_cli.evaluate.readers.npz import has_arrays, read_npz
from astr_cli.evaluate.readers.photos import photo_root
from astr_cli.images.decode import read_gray
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.overlap import overlap
from astr_cli.train.frames import Array, Frame, RecordedSet, cropped, trusted_inverse
from astr_cli.wording import counted

KEYS = ("image_paths", "depth_paths", "intrinsics", "poses", "pair_infos")
# LoFTR trains on the index folder scene_info_0.1_0.7, named after its overlaps, and sets no other limit
# (MIN_OVERLAP_SCORE_TRAIN = 0.0 in its configs/data/megadepth_trainval_640.py).
OVERLAPS = (0.1, 0.7)
TEST_SCENES = ("0015", "0022")  # the scenes of MegaDepth-1500
NEAR = 0.05  # pairs are equally good if their overlap is this close to the target
TRIES = 4  # pairs of photos tried for one pair of the batch
SHARED = 0.1  # smallest overlap of two crops; crops of photos with little overlap may have none


class FrameFiles(NamedTuple):
    """A photo with depth and camera, on disk."""

    image: Path
    depth: Path
    intrinsics: Array  # (3, 3), pixel centres at whole numbers
    pose: Array  # (4, 4) camera to world


@dataclass(frozen=True)
class Scene:
    """The pairs of an index file with an overlap in range."""

    frames: dict[int, FrameFiles]  # by the number of the photo
    pairs: npt.NDArray[np.int64]  # (P, 2) numbers
    overlaps: Array  # (P,)


@dataclass(frozen=True)
class MegadepthSet(RecordedSet):
    """All scenes below a folder; photos and depth maps are read when they are drawn."""

    scenes: tuple[Scene, ...]

    def pair(self, side: int, generator: torch.Generator, difficulty: float) -> ScenePair:
        """One pair, without the batch dimension. Raises AstrError if a photo or a depth map cannot be read."""
        for _ in range(TRIES):
            files0, files1 = self._draw(generator, difficulty)
            found = cropped(_read_frame(files0), _read_frame(files1), side, generator, difficulty)
            if float(overlap(ScenePair(*(part[None] for part in found)))) >= SHARED:
                break
        return found

    def _draw(self, generator: torch.Generator, difficulty: float) -> tuple[FrameFiles, FrameFiles]:
        """A random scene, a random overlap in it, a random pair near that; at difficulty 0, its largest overlaps."""
        scene = self.scenes[int(torch.randint(len(self.scenes), (1,), generator=generator))]
        share, place = torch.rand(2, generator=generator).tolist()
        least, most = scene.overlaps.min(), scene.overlaps.max()
        apart = np.abs(scene.overlaps - (most - (most - least) * difficulty * share))
        near = np.flatnonzero(apart <= max(NEAR, apart.min()))
        first, second = scene.pairs[near[int(place * len(near))]].tolist()
        return scene.frames[first], scene.frames[second]


def load_megadepth(root: Path) -> MegadepthSet:
    """Read all index files below `root` except those of the test scenes.

    Raises AstrError: no index file, no pair in range, a faulty index file, or a missing photo or depth map.
    """
    training = [path for path in _archives(root) if path.stem.split("_")[0] not in TEST_SCENES]
    scenes = [scene for path in training if (scene := _load_scene(path)) is not None]
    if not scenes:
        raise AstrError(
            f"{root}: contains no index file of MegaDepth, an .npz with {', '.join(KEYS)} (the test scenes "
            f"{' and '.join(TEST_SCENES)} do not count); give the folder with LoFTR's index/ and train/"
        )
    if not any(len(scene.pairs) for scene in scenes):
        low, high = OVERLAPS
        raise AstrError(
            f"{root}: no pair with an overlap of {low} to {high} in {counted(len(scenes), 'index file')}; get LoFTR's "
            "scene_info_0.1_0.7"
        )
    return MegadepthSet(tuple(scene for scene in scenes if len(scene.pairs)))


def _archives(root: Path) -> list[Path]:
    """All .npz files below `root`, sorted; links are followed, because LoFTR's guide builds the layout with links."""
    found: list[Path] = []
    seen: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:  # links may lead in circles
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += [Path(folder) / name for name in files if name.endswith(".npz")]
    return sorted(found)


def _load_scene(path: Path) -> Scene | None:
    """The pairs in range of an index file; None for any other archive of arrays."""
    if not has_arrays(path, *KEYS) and zipfile.is_zipfile(path):
        return None
    content = read_npz(path)  # damage is an error, because nobody would notice a missing scene
    if not all(key in content for key in KEYS):
        return None
    pairs, overlaps = [], []
    for row, info in enumerate(content["pair_infos"]):
        try:
            (first, second), share = (int(number) for number in info[0]), float(info[1])
        except (TypeError, ValueError, IndexError):
            raise AstrError(f"{path}: pair {row + 1}: expected the numbers of two photos and their overlap") from None
        if OVERLAPS[0] <= share <= OVERLAPS[1]:
            pairs.append((first, second))
            overlaps.append(share)
    numbers = sorted({number for pair in pairs for number in pair})
    root = photo_root(path.parent, _name(path, content, "image_paths", numbers[0]), path) if numbers else path.parent
    frames = {number: _frame_files(path, content, number, root) for number in numbers}
    return Scene(frames, np.array(pairs, np.int64).reshape(-1, 2), np.array(overlaps))


def _frame_files(path: Path, content: dict[str, Any], number: int, root: Path) -> FrameFiles:
    """The checked files and camera of a photo."""
    image, depth = (root / _name(path, content, key, number) for key in ("image_paths", "depth_paths"))
    for file in (image, depth):
        if not file.is_file():
            raise AstrError(
                f"{path}: photo {number}: {file} is missing; put it there, or leave its pairs out of the index"
            )
    where = f"{path}: photo {number}"
    try:
        intrinsics = np.asarray(content["intrinsics"][number], np.float64).reshape(3, 3)
        pose = np.asarray(content["poses"][number], np.float64).reshape(4, 4)
    except (TypeError, ValueError, IndexError):
        raise AstrError(f"{where}: expected intrinsics (3, 3) and a pose (4, 4)") from None
    ours = intrinsics - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    view = posed_view(ours, pose[:3, :3], pose[:3, 3], (1, 1), where)  # the photo is opened only when it is drawn
    to_camera = np.eye(4)
    to_camera[:3, :3], to_camera[:3, 3] = view.rotation, view.translation
    return FrameFiles(image, depth, view.intrinsics, np.linalg.inv(to_camera))


def _name(path: Path, content: dict[str, Any], key: str, number: int) -> str:
    names = content[key]
    name = names[number] if 0 <= number < len(names) else None
    if not isinstance(name, str):
        raise AstrError(
            f"{path}: a pair refers to photo {number}, but {key} has no such entry; get the index file again"
        )
    return require_photo_name(name, path)


def _read_frame(files: FrameFiles) -> Frame:
    image, depth = read_gray(files.image), _read_depth(files.depth)
    (height, width), (rows, columns) = image.shape, depth.shape
    if abs(rows * width - height * columns) > 2 * columns:  # undistorting twice may round a side differently
        raise AstrError(
            f"{files.depth}: {columns}x{rows}, but {files.image} is {width}x{height}: not the same view; get both again"
        )
    return Frame(image, trusted_inverse(depth), files.intrinsics, files.pose)


def _read_depth(path: Path) -> Array:
    """z-depth (h, w) float32; values that are not finite become 0."""
    try:
        with h5py.File(path, "r") as file:
            depth = np.asarray(file["depth"], np.float32)
        if depth.ndim != 2 or depth.size == 0:
            raise ValueError(f"its shape is {depth.shape}")
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise AstrError(f"{path}: not a depth map, HDF5 with a dataset 'depth' ({reason}); copy it again") from None
    return np.where(np.isfinite(depth), depth, np.float32(0))
