"""Text for COLMAP's importers, and for OpenMVG."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.images.errors import ImageError
from astr_cli.images.info import read_info
from astr_cli.names import problem_of_names
from astr_cli.sfm.exports.shared_keypoints import Tracked

DESCRIPTOR = 128  # both programs use SIFT's length, and need one per keypoint; astr writes zeros
GUESSED_FOCAL = 1.2  # of the long side, COLMAP's guess
# cereal's marks in JSON: the first object of a named type, an object of the pointer's own type, a first pointer.
NAMED_TYPE, OWN_TYPE, NEW_POINTER = 0x80000001, 0x40000000, 0x80000000


def write_colmap(tracked: Tracked, folder: Path) -> None:
    """keypoints/NAME.txt for `colmap feature_importer`, matches.txt for `colmap matches_importer --match_type raw`,
    pairs.txt for `--match_type pairs`. COLMAP's pixels: the centre of the top-left one at (0.5, 0.5).

    Raises AstrError for a name with a space, which these text files cannot hold, and for names whose files collide.
    """
    _refuse_spaces(tracked)
    problem = problem_of_names(f"{matched.name}.txt" for matched in tracked.images)
    if problem is not None:
        raise AstrError(f"keypoints/{problem}")
    zeros = " 0" * DESCRIPTOR
    for matched, keypoints in zip(tracked.images, tracked.keypoints, strict=True):
        path = folder / "keypoints" / f"{matched.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{len(keypoints)} {DESCRIPTOR}"]
        lines += [f"{x:.4f} {y:.4f} 1 0{zeros}" for x, y in (keypoints.astype(np.float64) + 0.5).tolist()]
        _write_lines(path, lines)
    filled = [entry for entry in zip(tracked.pairs, tracked.matches, strict=True) if len(entry[1])]
    headers = [" ".join(tracked.names(pair)) for pair, _ in filled]
    _write_lines(folder / "pairs.txt", headers)
    blocks = ("\n".join([header, *_index_lines(found), ""]) for header, (_, found) in zip(headers, filled, strict=True))
    _write_lines(folder / "matches.txt", blocks)


def write_openmvg(tracked: Tracked, folder: Path, root: Path) -> None:
    """sfm_data.json with views and intrinsics, STEM.feat and STEM.desc for each image, matches.putative.txt.

    root: the folder of the photos; their EXIF gives focal lengths. Raises AstrError: two names with one stem (OpenMVG
    knows an image's features by it), or a name with a space.
    """
    _refuse_spaces(tracked)
    stems: dict[str, str] = {}
    for matched in tracked.images:
        other = stems.setdefault(PurePosixPath(matched.name).stem, matched.name)
        if other != matched.name:
            raise AstrError(f"{other} and {matched.name} would share one .feat file in OpenMVG; rename one of them")
    for (stem, _), keypoints in zip(stems.items(), tracked.keypoints, strict=True):
        _write_lines(folder / f"{stem}.feat", [f"{x:.4f} {y:.4f} 1 0" for x, y in keypoints.tolist()])
        count = np.array([len(keypoints)], "<u8").tobytes()
        (folder / f"{stem}.desc").write_bytes(count + bytes(DESCRIPTOR * len(keypoints)))
    blocks = {}
    for pair, matches in zip(tracked.pairs, tracked.matches, strict=True):
        if len(matches):
            low = sorted(pair)  # views are numbered by name, and a pair names the lower one first
            lines = _index_lines(matches if low == list(pair) else matches[:, ::-1])
            blocks[tuple(low)] = "\n".join([f"{low[0]} {low[1]}", str(len(matches)), *lines])
    _write_lines(folder / "matches.putative.txt", (blocks[pair] for pair in sorted(blocks)))
    data = json.dumps(_sfm_data(tracked, root), indent=1, ensure_ascii=False)
    (folder / "sfm_data.json").write_text(data + "\n", encoding="utf-8", newline="\n")


def _sfm_data(tracked: Tracked, root: Path) -> dict[str, object]:
    """OpenMVG's scene: one camera per size and focal length, shared by the images that have them."""
    cameras: dict[tuple[int, int, float], int] = {}
    views: list[object] = []
    for number, matched in enumerate(tracked.images):
        focal = _exif_focal(root, matched.name) or GUESSED_FOCAL * max(matched.size)
        camera = cameras.setdefault((*matched.size, round(focal, 6)), len(cameras))
        path = PurePosixPath(matched.name)
        view = {
            "local_path": "" if path.parent == PurePosixPath() else str(path.parent),
            "filename": path.name,
            "width": matched.size[0],
            "height": matched.size[1],
            "id_view": number,
            "id_intrinsic": camera,
            "id_pose": number,
        }
        views.append({"key": number, "value": _pointer(OWN_TYPE, None, number, view)})
    intrinsics = []
    for (width, height, focal), number in cameras.items():
        camera_data = {
            "width": width,
            "height": height,
            "focal_length": focal,
            "principal_point": [(width - 1) / 2, (height - 1) / 2],
            "disto_k3": [0.0, 0.0, 0.0],
        }
        kind, name = (NAMED_TYPE, "pinhole_radial_k3") if number == 0 else (1, None)
        intrinsics.append({"key": number, "value": _pointer(kind, name, len(views) + number, camera_data)})
    empty: dict[str, object] = {"extrinsics": [], "structure": [], "control_points": []}
    head = {"sfm_data_version": "0.3", "root_path": str(root.resolve())}
    return {**head, "views": views, "intrinsics": intrinsics, **empty}


def _pointer(kind: int, name: str | None, number: int, data: dict[str, object]) -> dict[str, object]:
    named = {} if name is None else {"polymorphic_name": name}
    return {"polymorphic_id": kind, **named, "ptr_wrapper": {"id": NEW_POINTER + number + 1, "data": data}}


def _exif_focal(root: Path, name: str) -> float | None:
    try:
        return read_info(root, name).focal
    except ImageError:
        return None


def _refuse_spaces(tracked: Tracked) -> None:
    for matched in tracked.images:
        if len(matched.name.split()) != 1:
            raise AstrError(f"'{matched.name}': this format cannot contain names with spaces; rename the photo")


def _index_lines(matches: NDArray[np.uint32]) -> Iterator[str]:
    return (f"{a} {b}" for a, b in matches.tolist())


def _write_lines(path: Path, lines: Iterator[str] | list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
