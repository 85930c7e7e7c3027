"""Folders of photos with true cameras: gt.json, pairs.txt and images/.

gt.json holds `"type": "pose"` and `"images": {name: {"K", "R", "t", "size"}}` with x = K (R X + t), world to camera,
the centre of the top-left pixel at (0, 0), and size as (width, height).
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.evaluate.metrics import Array, RelativePose, relative_pose
from astr_cli.pairs import Pair, read_pairs


class EvaluateError(AstrError):
    """An evaluation that cannot start; the message says file, what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class PosedView:
    """The true camera of a photo."""

    intrinsics: Array  # (3, 3) of the raw photo
    rotation: Array  # (3, 3) world to camera
    translation: Array  # (3,)
    size: tuple[int, int]  # raw (width, height)


@dataclass(frozen=True)
class PoseFolder:
    """Photos with true cameras, and the pairs to be evaluated."""

    root: Path
    views: Mapping[str, PosedView]
    pairs: tuple[Pair, ...]

    @property
    def images(self) -> Path:
        """The folder that names are relative to."""
        return self.root / "images"

    @property
    def pairs_file(self) -> Path:
        """The pairs file."""
        return self.root / "pairs.txt"

    def truth(self, name0: str, name1: str) -> RelativePose:
        """The true relative pose of two photos of the folder."""
        view0, view1 = self.views[name0], self.views[name1]
        return relative_pose(view0.rotation, view0.translation, view1.rotation, view1.translation)


def read_pose_folder(root: Path) -> PoseFolder:
    """Read gt.json and pairs.txt of a folder. Raises EvaluateError and PairsError with the file and the reason."""
    path = root / "gt.json"
    views = {name: _view(entry, name, path) for name, entry in _images(path).items()}
    folder = PoseFolder(root, views, read_pairs(root / "pairs.txt").pairs)
    for pair in folder.pairs:
        for name in (pair.name0, pair.name1):
            if name not in views:
                near = difflib.get_close_matches(name, views, 1, 0.0)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise EvaluateError(f"{folder.pairs_file}:{pair.line}: {name} has no camera in {path}{hint}")
        if np.linalg.norm(folder.truth(pair.name0, pair.name1).translation) < 1e-9:
            raise EvaluateError(
                f"{folder.pairs_file}:{pair.line}: {pair.name0} and {pair.name1} were taken from the same place, which "
                "has no direction of translation; leave the pair out"
            )
    return folder


def write_cameras(folder: PoseFolder, path: Path) -> None:
    """The true intrinsics as a cameras.txt with a camera for each photo, for `--cameras`."""
    lines = []
    for key, (name, view) in enumerate(sorted(folder.views.items()), 1):
        matrix, (width, height) = view.intrinsics, view.size
        # COLMAP puts the centre of the top-left pixel at (0.5, 0.5).
        params = (matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5)
        lines.append(f"{key} PINHOLE {width} {height} " + " ".join(repr(float(value)) for value in params))
        lines.append(f"# IMAGE {key} {name}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _images(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvaluateError(f"{path}: no such file; give a folder with gt.json, pairs.txt and images/") from None
    except (OSError, ValueError) as error:
        raise EvaluateError(f"{path}: cannot be read as JSON ({error})") from None
    kind = content.get("type") if isinstance(content, dict) else None
    if kind != "pose" or not isinstance(content.get("images"), dict):
        raise EvaluateError(f'{path}: "type" is {kind!r}; only folders of type "pose" with "images" can be evaluated')
    return dict(content["images"])


def _view(entry: Any, name: str, path: Path) -> PosedView:
    try:
        view = PosedView(
            np.asarray(entry["K"], np.float64),
            np.asarray(entry["R"], np.float64),
            np.asarray(entry["t"], np.float64).reshape(-1),
            (int(entry["size"][0]), int(entry["size"][1])),
        )
    except (KeyError, IndexError, TypeError, ValueError):
        raise EvaluateError(f"{path}: {name}: expected numbers for K (3x3), R (3x3), t (3) and size (2)") from None
    parts = (view.intrinsics, view.rotation, view.translation)
    shapes = tuple(part.shape for part in parts)
    if shapes != ((3, 3), (3, 3), (3,)) or not all(np.isfinite(part).all() for part in parts):
        raise EvaluateError(f"{path}: {name}: expected finite K (3x3), R (3x3) and t (3), found {shapes}")
    if view.intrinsics[0, 0] <= 0 or view.intrinsics[1, 1] <= 0 or min(view.size) < 1:
        raise EvaluateError(f"{path}: {name}: expected a size and focal lengths above 0")
    if not np.allclose(view.rotation @ view.rotation.T, np.eye(3), atol=1e-3):
        raise EvaluateError(f"{path}: {name}: R is not a rotation")
    return view
