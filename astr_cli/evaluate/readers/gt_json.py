"""Folders with gt.json and images/. "type" is the type of ground truth; the centre of the top-left pixel is (0, 0).

pose: `"images": {name: {"K", "R", "t", "size"}}` with x = K (R X + t), world to camera, and size as (width, height);
the pairs are in pairs.txt.
homography: `"pairs": [{"im0", "im1", "H"}]` with x1 ~ H x0.
disparity: `"pairs": [{"name", "im0", "im1"}]`, rectified: (x, y) of im0 is (x - d, y) of im1; disparity.npz contains d
under `name` (not finite where unknown) and a mask under `name_nonoccluded`.
"""

import difflib
from pathlib import Path
from typing import Any

import numpy as np

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError, number_pairs, read_sizes
from astr_cli.evaluate.disparity_folder import DisparityFolder
from astr_cli.evaluate.homography_folder import HomographyFolder, homography_folder
from astr_cli.evaluate.pose_folder import PoseFolder, posed_view
from astr_cli.evaluate.readers.npz import read_npz
from astr_cli.files import parse_json
from astr_cli.pairs.reading import read_pairs

FILE = "gt.json"


def read_gt_json(folder: Path, name: str) -> Benchmark[Any] | None:
    """The benchmark of a folder with gt.json; None without that file. Raises EvaluateError and PairsError."""
    path = folder / FILE
    if not path.exists():
        return None
    kind = _load(path).get("type")
    if kind == "pose":
        return read_pose_folder(folder, name)
    if kind == "homography":
        return read_homography_folder(folder, name)
    if kind == "disparity":
        return read_disparity_folder(folder, name)
    raise EvaluateError(f'{path}: "type" is {kind!r}; known are pose, homography and disparity')


def read_pose_folder(root: Path, name: str | None = None) -> PoseFolder:
    """Read gt.json and pairs.txt of a folder. Raises EvaluateError and PairsError with the file and the reason."""
    path = root / FILE
    images = _part(path, "pose", "images", dict)
    views = {}
    for photo, entry in images.items():
        try:
            values = (entry["K"], entry["R"], entry["t"], entry["size"])
        except (KeyError, TypeError):
            raise EvaluateError(f"{path}: {photo}: expected numbers for K, R, t and size") from None
        views[photo] = posed_view(*values, f"{path}: {photo}")
    pairs_file = root / "pairs.txt"
    pairs = read_pairs(pairs_file).pairs
    for pair in pairs:
        for photo in (pair.name0, pair.name1):
            if photo not in views:
                near = difflib.get_close_matches(photo, views, 1, 0.0)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise EvaluateError(f"{pairs_file}:{pair.line}: {photo} has no camera in {path}{hint}")
    folder = PoseFolder(name=name or root.name, root=root, images=root / "images", pairs=pairs, views=views)
    folder.require_baselines(pairs_file)
    return folder


def read_homography_folder(root: Path, name: str) -> HomographyFolder:
    """Read gt.json of type homography. Raises EvaluateError with the file and the reason."""
    path = root / FILE
    truth = []
    for entry in _part(path, "homography", "pairs", list):
        try:
            truth.append((str(entry["im0"]), str(entry["im1"]), np.asarray(entry["H"], np.float64)))
        except (KeyError, TypeError, ValueError):
            raise EvaluateError(f"{path}: pair {len(truth) + 1}: expected im0, im1 and a 3x3 H") from None
    return homography_folder(name, root, root / "images", truth, path)


def read_disparity_folder(root: Path, name: str) -> DisparityFolder:
    """Read gt.json of type disparity, and disparity.npz. Raises EvaluateError with the file and the reason."""
    path = root / FILE
    keys: dict[tuple[str, str], str] = {}
    names = []
    for entry in _part(path, "disparity", "pairs", list):
        try:
            names.append((str(entry["im0"]), str(entry["im1"])))
            keys[names[-1]] = str(entry["name"])
        except (KeyError, TypeError):
            raise EvaluateError(f"{path}: pair {len(names) + 1}: expected name, im0 and im1") from None
    pairs = number_pairs(names, path)
    images = root / "images"
    sizes = read_sizes(images, (photo for both in names for photo in both), path)
    file = root / "disparity.npz"
    maps = read_npz(file)
    disparities = {}
    for both, key in keys.items():
        width, height = sizes[both[0]]
        known, mask = maps.get(key), maps.get(f"{key}_nonoccluded")
        for label, value in ((key, known), (f"{key}_nonoccluded", mask)):
            if not isinstance(value, np.ndarray) or value.shape != (height, width) or value.dtype.kind not in "fiub":
                raise EvaluateError(f"{file}: {label}: expected an array of {height} rows and {width} columns")
        disparities[both] = np.where(np.asarray(mask, bool), np.asarray(known, np.float32), np.float32("nan"))
    return DisparityFolder(name=name, root=root, images=images, pairs=pairs, photos=sizes, disparities=disparities)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise EvaluateError(f"{path}: no such file; give a folder with gt.json, pairs.txt and images/") from None
    except (OSError, ValueError) as error:
        raise EvaluateError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(content, dict):
        raise EvaluateError(f'{path}: expected an object with "type"')
    return content


def _part(path: Path, kind: str, key: str, form: type) -> Any:
    """The content of `key` in a gt.json of this type."""
    content = _load(path)
    if content.get("type") != kind or not isinstance(content.get(key), form):
        raise EvaluateError(f'{path}: "type" is {content.get("type")!r}; expected {kind!r}, with "{key}"')
    return content[key]
