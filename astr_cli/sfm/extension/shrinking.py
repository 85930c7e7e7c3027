"""Models without some of their photos: what remains keeps numbers and places."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from astr_cli.errors import AstrError
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.locked import copy_database
from astr_cli.sfm.extension.database import Start
from astr_cli.sfm.extension.growing import largest_move, readjusted
from astr_cli.sfm.extension.models import Extended, cameras_of, settings_of, summary_of, write_model
from astr_cli.sfm.mapping.colmap_mappers import copied
from astr_cli.sfm.mapping.pair_agreement import pair_figures
from astr_cli.sfm.own_files import is_model
from astr_cli.sfm.scratch import scratch_folder

LEAST = 2  # photos of a model


def without(model: Any, names: Collection[str]) -> Any:
    """A copy of a pycolmap.Reconstruction without these photos, their observations, and points with under two left.

    Cameras that no other photo uses go too. A frame goes as a whole.
    """
    made = copied(model)
    gone = [image for image in made.images.values() if image.name in names]
    for frame in {image.frame_id for image in gone if image.has_pose}:
        made.deregister_frame(frame)
    frames = {image.frame_id: made.frame(image.frame_id).rig_id for image in gone}
    for image in [image.image_id for image in gone]:
        del made.images[image]
    for frame in frames:
        del made.frames[frame]
    used = {frame.rig_id for frame in made.frames.values()}
    for rig in set(frames.values()) - used:
        cameras = [sensor.id for sensor in made.rig(rig).sensor_ids()]
        del made.rigs[rig]
        for camera in cameras:
            del made.cameras[camera]
    return made


def shrink_models(
    start: Start, before: Any, names: Collection[str], database: Path, sparse: Path, readjust: bool
) -> Extended:
    """Writes the models without these photos into `sparse`; before: the first, as it was.

    database: without the photos; start: of those that remain. Raises AstrError when the first model would have under
    two photos left; any other one is left out then.
    """
    old = start.done.model.folder
    rest = without(before, names)
    if rest.num_reg_images() < LEAST:
        raise AstrError(
            f"{old}: would have {rest.num_reg_images()} of {before.num_reg_images()} photos left; take the photos out "
            "of their folder and run astr reconstruct again"
        )
    with scratch_folder(sparse.parent, "mapping") as scratch:
        copy = scratch / "database.db"  # COLMAP writes to every database that it opens
        copy_database(database, copy)
        cameras = cameras_of(start, copy)
        if readjust:
            start.tell("adjusting all photos and points")
            rest = readjusted(rest, copy, cameras.settings(settings_of(start, copy)))
    rest.update_point_3d_errors()
    write_model(rest, old, sparse / "0")
    for folder in models_in(old.parent):
        if folder.name != "0":
            further = without(read_model(folder), names)
            if further.num_reg_images() >= LEAST:
                write_model(further, folder, sparse / folder.name)
    summary = summary_of(start, rest, database, cameras)
    return Extended(summary, pair_figures(database, sparse / "0"), largest_move(before, rest))


def models_in(sparse: Path) -> list[Path]:
    """The folders of all models, by number."""
    return [folder for folder in sorted(sparse.iterdir()) if folder.name.isdecimal() and is_model(folder)]
