"""Images and cameras into a COLMAP database."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.info import ImageInfo
from astr_cli.options.database import CameraOptions
from astr_cli.sfm import colmap
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.rigs import apply_rigs
from astr_cli.sfm.database.sharing import Sharing, new_cameras, share_cameras
from astr_cli.sfm.tracks.match_rows import MatchedImage
from astr_cli.wording import counted

COLMAP_READS = frozenset({"JPEG", "MPO", "PNG", "TIFF", "BMP", "PPM"})  # by Pillow's names


class HeldPhoto(NamedTuple):
    """A photo that a database holds."""

    info: ImageInfo
    camera: int


def import_images(
    database: Path,
    infos: Mapping[str, ImageInfo],
    options: CameraOptions,
    held: Mapping[str, HeldPhoto] | None = None,
) -> list[str]:
    """Writes cameras, rigs, frames, images and pose priors of new photos; returns warnings, one line each.

    infos: what astr read of the photos. COLMAP reads none of them: it knows fewer formats. held: photos of the
    database with which new ones may share a camera.

    Raises CamerasError: the known cameras are unusable; CameraOptionError: photos cannot share a camera;
    RigError: rigs that cannot be written.
    """
    held = held or {}
    together = {**{name: photo.info for name, photo in held.items()}, **infos}
    sharing = share_cameras(together, options)
    places = {
        name: (place.latitude, place.longitude, math.nan if place.altitude is None else place.altitude)
        for name, info in infos.items()
        if (place := info.place) is not None
    }
    cameras = _of_new(new_cameras(sharing, together, options), held)
    colmap.add_images(database, list(infos), list(cameras), places)
    apply_rigs(database, options)
    _complete_frames(database)
    return [*sharing.warnings, *_format_notes(infos.values())]


def _of_new(cameras: Iterable[colmap.NewCamera], held: Mapping[str, HeldPhoto]) -> Iterator[colmap.NewCamera]:
    """The cameras of new photos: that of the first photo of the database that shares it, or a new one."""
    for camera in cameras:
        new = tuple(name for name in camera.names if name not in held)
        number = next((held[name].camera for name in camera.names if name in held), None)
        if new:
            yield camera._replace(names=new, number=number)


def given_photos(sharing: Sharing, options: CameraOptions) -> frozenset[str]:
    """The photos whose cameras the user gave: by --cameras, or the others by --camera-params."""
    given = [*sharing.known.values(), *(sharing.others.values() if options.params is not None else ())]
    return frozenset(name for names in given for name in names)


def _format_notes(infos: Iterable[ImageInfo]) -> Iterator[str]:
    foreign = [info for info in infos if info.format not in COLMAP_READS]
    if foreign:
        yield (
            f"{counted(len(foreign), 'photo')} (for example {foreign[0].name}): COLMAP's own programs do not read "
            f"{foreign[0].format}; astr does, and astr export MODEL --format undistorted writes such photos as PNG"
        )


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
    """COLMAP's id of every image, all of which are there. Raises AstrError for one whose camera has another size."""
    with closing(read_only(database)) as connection:
        query = "SELECT name, image_id, width, height FROM images JOIN cameras USING (camera_id)"
        found = {name: (number, (width, height)) for name, number, width, height in connection.execute(query)}
    for matched in images:
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
