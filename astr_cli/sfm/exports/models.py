"""Models for other programs: undistorted photos and pinhole cameras, in the folders where the programs look.

Layouts: 3DGS and gsplat read images/ and sparse/0; COLMAP's dense step and OpenMVS read images/, sparse and stereo/;
nerfstudio reads transforms.json (https://docs.nerf.studio/quickstart/data_conventions.html).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.sfm.colmap import cancellable, pycolmap, quiet, read_model
from astr_cli.sfm.exports.foreign_photos import readable_model
from astr_cli.sfm.mapping.point_cloud import write_ply
from astr_cli.sfm.scratch import scratch_folder

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # from COLMAP's camera axes (y down, z ahead) to x right, y up, z back
PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE")
SCRIPTS = ("run-colmap-geometric.sh", "run-colmap-photometric.sh")  # COLMAP's, which name its own folders


class ModelFormat(NamedTuple):
    """How to write a model, and the next steps with it."""

    write: Callable[[Path, Path, Path, StopFlag], None]
    """From a model folder and a folder of photos into a folder."""
    next_steps: str
    """Commands of the other program, with {out}; one per line."""


def write_undistorted(model: Path, photos: Path, folder: Path, stop: StopFlag) -> None:
    """images/ and sparse/0, where splatting looks."""
    write_openmvs(model, photos, folder, stop)
    for made in sorted((folder / "stereo").rglob("*"), reverse=True):
        made.rmdir() if made.is_dir() else made.unlink()
    (folder / "stereo").rmdir()
    files = list((folder / "sparse").iterdir())
    (folder / "sparse" / "0").mkdir()
    for file in files:
        file.replace(folder / "sparse" / "0" / file.name)


def write_openmvs(model: Path, photos: Path, folder: Path, stop: StopFlag) -> None:
    """images/, sparse and stereo/: COLMAP's dense workspace, which OpenMVS reads too.

    A photo that COLMAP does not read, a.webp, becomes a.webp.png. Raises AstrError: a photo that cannot be read.
    """
    lost = [image.name for image in read_model(model).images.values() if not (photos / image.name).is_file()]
    if lost:
        raise AstrError(f"{photos / lost[0]}: no such photo; give the folder of the photos with --images")
    with scratch_folder(folder, "photos") as scratch, quiet(errors=False):
        try:
            cancellable(stop, pycolmap.undistort_images, folder, *readable_model(model, photos, scratch, stop.check))
        except (RuntimeError, ValueError) as error:
            raise AstrError(f"{photos}: COLMAP cannot undistort the photos ({error}); convert them to JPEG") from None
    for name in SCRIPTS:
        (folder / name).unlink(missing_ok=True)
    made = {path.relative_to(folder / "images").as_posix() for path in (folder / "images").rglob("*")}
    written = read_model(folder / "sparse")
    for image in written.images.values():
        if image.name not in made:
            raise AstrError(f"{photos / image.name}: COLMAP cannot read this photo; convert it to JPEG or PNG")
    _name_pinholes(written)
    written.write(folder / "sparse")


def _name_pinholes(model: Any) -> None:
    """Makes cameras without distortion pinhole cameras: COLMAP leaves their model, and splatting refuses it."""
    for camera in model.cameras.values():
        if camera.is_undistorted() and camera.model.name not in PINHOLES:
            lengths = (camera.focal_length_x, camera.focal_length_y)
            centre = (camera.principal_point_x, camera.principal_point_y)
            camera.model = pycolmap.CameraModelId.PINHOLE
            camera.params = [*lengths, *centre]


def write_nerfstudio(model: Path, photos: Path, folder: Path, stop: StopFlag) -> None:
    """images/, sparse/0, transforms.json and the points that it names."""
    write_undistorted(model, photos, folder, stop)
    made = read_model(folder / "sparse" / "0")
    write_ply(made, folder / "points.ply")
    frames = [_frame(made.image(number)) for number in sorted(made.reg_image_ids())]
    record = {"camera_model": "OPENCV", "ply_file_path": "points.ply", "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _frame(image: Any) -> dict[str, object]:
    """One photo: intrinsics as COLMAP counts pixels, and the pose from camera to world in OpenGL's axes."""
    camera = image.camera
    pose = np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]]) @ OPENGL
    return {
        "file_path": f"images/{image.name}",
        "fl_x": camera.focal_length_x,
        "fl_y": camera.focal_length_y,
        "cx": camera.principal_point_x,
        "cy": camera.principal_point_y,
        "w": camera.width,
        "h": camera.height,
        "transform_matrix": pose.tolist(),
    }


MODEL_FORMATS: Mapping[str, ModelFormat] = MappingProxyType(
    {
        "undistorted": ModelFormat(
            write_undistorted,
            "python train.py -s {out}  # 3DGS\n"
            "python examples/simple_trainer.py default --data_dir {out} --data_factor 1  # gsplat",
        ),
        "nerfstudio": ModelFormat(write_nerfstudio, "ns-train splatfacto --data {out}"),
        "openmvs": ModelFormat(
            write_openmvs,
            "InterfaceCOLMAP -i {out} -o {out}/scene.mvs --image-folder {out}/images  # OpenMVS\n"
            "colmap patch_match_stereo --workspace_path {out}  # COLMAP",
        ),
    }
)
