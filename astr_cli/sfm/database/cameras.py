"""Images and cameras into a COLMAP database: from EXIF, from the command line, or from a file of known cameras."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import catalogue
from astr_cli.options.database import CameraOptions
from astr_cli.sfm import colmap
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.tracks.match_rows import MatchedImage
from astr_cli.store.camera_models import MODELS, problem_of_camera
from astr_cli.store.cameras import Camera, read_cameras


class CameraOptionError(AstrError):
    """Invalid camera options."""


def check_camera_options(options: CameraOptions) -> None:
    """Raises CameraOptionError for a camera model that COLMAP lacks, or parameters that do not fit it."""
    if options.model not in MODELS:
        raise CameraOptionError(f"--camera-model {options.model}: choose one of {', '.join(MODELS)}")
    if options.params is not None:
        _check_params(options.model, options.params)


def _check_params(model: str, text: str) -> None:
    try:
        params = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise CameraOptionError(f"--camera-params {text}: give numbers separated by commas") from None
    problem = problem_of_camera(model, 1, 1, params)
    if problem is not None:
        raise CameraOptionError(f"--camera-params {text}: {problem}; choose another model with --camera-model")


def check_known(images: Sequence[MatchedImage], options: CameraOptions) -> None:
    """Raises the same CamerasError or CameraOptionError as `import_images` for the known cameras."""
    if images:
        _known_groups(images, options.known)


def import_images(database: Path, root: Path, images: Sequence[MatchedImage], options: CameraOptions) -> list[str]:
    """Writes cameras, rigs, frames, images and pose priors; returns warnings, one line each.

    Raises CamerasError: the known cameras are unusable; AstrError: COLMAP cannot read one of the photos.
    """
    groups, unknown = _known_groups(images, options.known)
    for camera, names in groups:
        _import(database, root, names, "single", camera.model, ",".join(repr(value) for value in camera.params))
    params = options.params or ""
    alike, others = _alike(root, unknown) if options.mode == "auto" else ([], unknown)
    for names in alike:
        _import(database, root, names, "single", options.model, params)
    _import(database, root, others, options.mode, options.model, params)
    _complete_frames(database)
    if not groups or not unknown:
        return []
    return [
        f"{options.known}: has no camera for {len(unknown)} of {len(images)} photos (for example {unknown[0]}); "
        "astr takes their cameras from EXIF or guesses them"
    ]


def _known_groups(
    images: Sequence[MatchedImage], known: Path | None
) -> tuple[list[tuple[Camera, list[str]]], list[str]]:
    """The photos of each known camera, and the photos without one."""
    if known is None:
        return [], [matched.name for matched in images]
    book = read_cameras(known)
    cameras = [book.for_image(matched.name, *matched.size) for matched in images]
    if not any(cameras):
        raise CameraOptionError(f"{known}: has no camera for any of the photos; names or sizes must agree")
    groups: dict[Camera, list[str]] = {}
    unknown = []
    for matched, camera in zip(images, cameras, strict=True):
        if camera is None:
            unknown.append(matched.name)
        else:
            groups.setdefault(camera, []).append(matched.name)
    return list(groups.items()), unknown


def _alike(root: Path, names: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """Photos of equal size and focal length whose EXIF does not name the camera, which COLMAP shares by; the others."""
    infos = catalogue(root, names).infos
    groups: dict[tuple[tuple[int, int], float], list[str]] = {}
    for name, info in infos.items():
        if info.focal is not None and not info.named:
            groups.setdefault((info.size, info.focal), []).append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    taken = {name for group in alike for name in group}
    return alike, [name for name in names if name not in taken]


def _import(database: Path, root: Path, names: Sequence[str], mode: str, model: str, params: str) -> None:
    if not names:
        return
    if model not in colmap.known_models():
        raise CameraOptionError(f"{model}: pycolmap {colmap.pycolmap.__version__} lacks this model; choose another")
    colmap.import_images(database, root, names, mode, model, params)


def _complete_frames(database: Path) -> None:
    """Gives images without a frame one of their own: COLMAP crashes when only some images have a frame."""
    with closing(sqlite3.connect(database)) as connection:
        lone = connection.execute(
            "SELECT image_id, camera_id FROM images WHERE EXISTS (SELECT 1 FROM frames) AND image_id NOT IN "
            "(SELECT data_id FROM frame_data WHERE sensor_type = 0)"
        ).fetchall()
        for image, camera in lone:
            frame = connection.execute("INSERT INTO frames (rig_id) VALUES (?)", (_rig_of(connection, camera),))
            connection.execute("INSERT INTO frame_data VALUES (?, ?, ?, 0)", (frame.lastrowid, image, camera))
        connection.commit()


def _rig_of(connection: sqlite3.Connection, camera: int) -> int:
    """The rig of a camera, made when there is none."""
    found = connection.execute(
        "SELECT rig_id FROM rigs WHERE ref_sensor_id = ?1 AND ref_sensor_type = 0 UNION "
        "SELECT rig_id FROM rig_sensors WHERE sensor_id = ?1 AND sensor_type = 0",
        (camera,),
    ).fetchone()
    if found is None:
        made = connection.execute("INSERT INTO rigs (ref_sensor_id, ref_sensor_type) VALUES (?, 0)", (camera,))
        return int(made.lastrowid or 0)
    return int(found[0])


def image_ids(database: Path, root: Path, images: Sequence[MatchedImage]) -> list[int]:
    """COLMAP's id of every image. Raises AstrError for a photo that COLMAP could not take."""
    with closing(read_only(database)) as connection:
        query = "SELECT name, image_id, width, height FROM images JOIN cameras USING (camera_id)"
        found = {name: (number, (width, height)) for name, number, width, height in connection.execute(query)}
    for matched in images:
        if matched.name not in found:
            raise AstrError(
                f"{root / matched.name}: COLMAP refuses this photo (its format, or another size than the others of "
                "its camera); convert it to JPEG or PNG, or try --camera-mode per-image"
            )
        width, height = found[matched.name][1]
        if (width, height) != matched.size:
            raise AstrError(
                f"{root / matched.name}: its camera in COLMAP is {width}x{height}, but the photo was matched as "
                f"{matched.size[0]}x{matched.size[1]}; save the photo without EXIF rotation and match it again"
            )
    return [found[matched.name][0] for matched in images]


class Held(NamedTuple):
    """Counts of a database's content, of any origin."""

    images: int
    cameras: int
    known_focals: int
    """Cameras whose focal length is more than a guess."""
    keypoints: int


def held_by(database: Path) -> Held:
    """Counts the content of a database that is not open elsewhere."""
    with closing(read_only(database)) as connection:
        query = (
            "SELECT (SELECT COUNT(*) FROM images), COUNT(*), COALESCE(SUM(prior_focal_length <> 0), 0), "
            "(SELECT COALESCE(SUM(rows), 0) FROM keypoints) FROM cameras"
        )
        return Held(*connection.execute(query).fetchone())
