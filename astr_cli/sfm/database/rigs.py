"""Rigs in a COLMAP database, by COLMAP's rig_config.json: cameras that are fixed to each other and expose together.

The photos of a frame are those with one name behind the prefixes of a rig's cameras. Mapping adjusts one pose per
frame, and one per camera within its rig. See https://colmap.github.io/rigs.html for the file.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.errors import AstrError
from astr_cli.files import parse_json
from astr_cli.options.database import CameraOptions
from astr_cli.sfm.colmap import open_database, pycolmap, read_model
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.own_files import is_model
from astr_cli.wording import first_line

POSE = {"cam_from_rig_rotation": 4, "cam_from_rig_translation": 3}  # numbers of each
REFERENCE = "ref_sensor"


class RigError(AstrError):
    """A rig configuration that cannot be used."""


class RigCamera(NamedTuple):
    """A camera of a rig."""

    prefix: str
    """How the names of its photos begin."""
    reference: bool
    posed: bool
    """Whether its pose in the rig is given; that of the reference is known."""


def read_rigs(path: Path) -> list[list[RigCamera]]:
    """The cameras of each rig. Raises RigError: no such file, no JSON, or not what COLMAP reads."""
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise RigError(f"--rig-config {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise RigError(f"--rig-config {path}: is no JSON ({first_line(error)}); see colmap.github.io/rigs") from None
    if not isinstance(content, list) or not content:
        raise RigError(f'--rig-config {path}: holds no rigs; begin with [{{"cameras": [{{"image_prefix": "left/", ...')
    return [_rig(path, number, rig) for number, rig in enumerate(content, 1)]


def _rig(path: Path, number: int, rig: Any) -> list[RigCamera]:
    place = f"--rig-config {path}: rig {number}"
    cameras = rig.get("cameras") if isinstance(rig, dict) else None
    if not isinstance(cameras, list) or not cameras:
        raise RigError(f"{place} has no list of cameras")
    found = [_camera(f"{place}, camera {index}", camera) for index, camera in enumerate(cameras, 1)]
    if sum(camera.reference for camera in found) != 1:
        raise RigError(f'{place} needs "{REFERENCE}": true at exactly one of its cameras')
    return found


def _camera(place: str, camera: Any) -> RigCamera:
    prefix = camera.get("image_prefix") if isinstance(camera, dict) else None
    if not isinstance(prefix, str) or not prefix:
        raise RigError(f'{place} has no "image_prefix", with which the names of its photos begin')
    for key, count in POSE.items():
        numbers = camera.get(key)
        if numbers is not None and not _numbers(numbers, count):
            raise RigError(f'{place}: "{key}" is a list of {count} numbers (a rotation is w, x, y, z)')
    given = [key for key in POSE if camera.get(key) is not None]
    if len(given) == 1:
        raise RigError(f"{place}: has {given[0]} alone; give {' and '.join(POSE)}, or neither")
    reference = camera.get(REFERENCE) is True
    return RigCamera(prefix, reference, reference or bool(given))


def _numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(value) in (int, float) for value in values)


def check_rig_files(options: CameraOptions) -> None:
    """Raises RigError: the files of the options cannot be read, whatever the photos are."""
    if options.rig_config is not None:
        read_rigs(options.rig_config)
    elif options.rig_model is not None:
        raise RigError("--rig-model: needs --rig-config, the rigs whose poses the model gives")
    if options.rig_model is not None and not is_model(options.rig_model):
        raise RigError(f"--rig-model {options.rig_model}: is no folder with a COLMAP model, such as sparse/0")


def check_rigs(options: CameraOptions, names: Collection[str]) -> list[str]:
    """Returns warnings. Raises RigError: the file cannot be used, a camera has no photo, or a pose in a rig is unknown
    and no model says it. names: of all photos.
    """
    path = options.rig_config
    if path is None:
        return []
    warnings: list[str] = []
    for number, rig in enumerate(read_rigs(path), 1):
        unknown = next((camera for camera in rig if not camera.posed), None)
        if unknown is not None and options.rig_model is None:
            raise RigError(
                f'--rig-config {path}: "{unknown.prefix}" has no {" and ".join(POSE)}; add them, or reconstruct '
                "without --rig-config first and give that model with --rig-model"
            )
        if max(_frames(path, rig, names).values()) < 2:
            warnings.append(
                f"{path}: rig {number} has no frame of two photos; those of a frame have the same name behind the "
                "prefix"
            )
    return warnings


def _frames(path: Path, rig: Sequence[RigCamera], names: Collection[str]) -> Counter[str]:
    """How many photos each frame has. Raises RigError for a camera without photos."""
    frames: Counter[str] = Counter()
    for camera in rig:
        rests = [name.removeprefix(camera.prefix) for name in names if name.startswith(camera.prefix)]
        if not rests:
            raise RigError(
                f'--rig-config {path}: no photo begins with "{camera.prefix}"; photos are called, for example, '
                f"{min(names, default='')}"
            )
        frames.update(rests)
    return frames


def apply_rigs(database: Path, options: CameraOptions) -> None:
    """Writes the rigs and frames of the configuration, in place of those that the database has.

    Raises RigError: the photos of a camera do not have one camera of their own, or the model does not say a pose.
    """
    path = options.rig_config
    if path is None:
        return
    _require_own_cameras(path, database)
    try:
        model = None if options.rig_model is None else read_model(options.rig_model)
        configs = pycolmap.read_rig_config(path)
        with open_database(database) as opened:
            pycolmap.apply_rig_config(configs, opened, *([] if model is None else [model]))
    except (RuntimeError, ValueError) as error:
        raise RigError(f"--rig-config {path}: COLMAP refuses it ({first_line(error)})") from None
    with closing(read_only(database)) as connection:
        if connection.execute("SELECT 1 FROM rig_sensors WHERE sensor_from_rig IS NULL").fetchone():
            raise RigError(
                f"--rig-config {path}: {options.rig_model} has no frame with the photos of all cameras, so their poses "
                "stay unknown; give those in the file"
            )


def _require_own_cameras(path: Path, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        images = connection.execute("SELECT name, camera_id FROM images ORDER BY name").fetchall()
    owner: dict[int, str] = {}
    for prefix in (camera.prefix for rig in read_rigs(path) for camera in rig):
        cameras = {camera for name, camera in images if name.startswith(prefix)}
        if len(cameras) > 1 or any(owner.setdefault(camera, prefix) != prefix for camera in cameras):
            raise RigError(
                f'--rig-config {path}: the photos of "{prefix}" need one camera that no others have; use a folder per '
                "camera and --camera-mode per-folder"
            )
