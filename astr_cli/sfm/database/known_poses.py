"""Known poses: a COLMAP model for verification, and a copy with a database's numbers, ready to triangulate."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.sfm.colmap import open_database, pycolmap, quiet
from astr_cli.sfm.scratch import scratch_folder
from astr_cli.store.cameras import read_cameras
from astr_cli.wording import first_line

MODEL_FILES = frozenset(
    f"{name}.{end}" for name in ("cameras", "images", "points3D", "rigs", "frames") for end in ("bin", "txt")
)


class KnownPosesError(AstrError):
    """Known poses that do not fit the database or the photos."""


class KnownPoses:
    """The posed images of a COLMAP model folder."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        """Raises KnownPosesError: not a readable model, or fewer than two of `names` in it."""
        read_cameras(folder)  # refuses other folders with astr's own message
        try:
            with quiet(errors=False):
                self._model = pycolmap.Reconstruction(str(folder))
        except (RuntimeError, ValueError, IndexError) as error:
            raise KnownPosesError(f"{folder}: unreadable COLMAP model ({first_line(error)}); save it again") from None
        self.folder = folder
        self._images = {image.name: image for image in self._model.images.values() if image.has_pose}
        self.posed = tuple(name for name in names if name in self._images)
        if len(self.posed) < 2:
            some = f" (it has {min(self._images)}); use the same image names" if self._images else ""
            raise KnownPosesError(f"{folder}: has poses for {len(self.posed)} of the {len(names)} images{some}")

    def for_database(self, database: Path, name: str) -> Any:
        """A pycolmap.Reconstruction without points, with the numbers, rigs and frames of `database`, called `name`.

        Raises KnownPosesError: a camera has another model there, or one camera there is several in the model.
        """
        model = pycolmap.Reconstruction()
        with open_database(database) as opened:
            images = {image.name: image for image in opened.read_all_images()}
            cameras = self._cameras(name, opened, images)
            frames = {frame.frame_id: frame for frame in opened.read_all_frames()}
            rigs = {rig.rig_id: rig for rig in opened.read_all_rigs()}
        posed = [images[name] for name in self.posed if name in images]
        used = {image.frame_id for image in posed}
        wanted = {frames[frame].rig_id for frame in used}
        for camera in cameras.values():
            model.add_camera(camera)
        for rig in wanted:
            model.add_rig(rigs[rig])
        for frame in used:
            model.add_frame(frames[frame])
        for image in images.values():
            if image.frame_id in used:
                model.add_image(image)
        for image in posed:
            pose = self._images[image.name].cam_from_world()
            model.frames[image.frame_id].set_cam_from_world(image.camera_id, pose)
        for frame in used:
            model.register_frame(frame)
        return model

    def _cameras(self, database: str, opened: Any, images: dict[str, Any]) -> dict[int, Any]:
        """The model's cameras by the database's numbers; images without a pose keep the database's cameras."""
        cameras = {camera.camera_id: camera for camera in opened.read_all_cameras()}
        known: dict[int, Any] = {}
        for name in self.posed:
            if name not in images:
                continue
            number = images[name].camera_id
            camera, there = self._model.cameras[self._images[name].camera_id], cameras[number]
            if (camera.model, camera.width, camera.height) != (there.model, there.width, there.height):
                raise KnownPosesError(
                    f"{self.folder}: the camera of {name} is {_camera_text(camera)}, but {database} has "
                    f"{_camera_text(there)}; use --mode create, or poses with the database's cameras"
                )
            if number in known and list(known[number].params) != list(camera.params):
                raise KnownPosesError(
                    f"{self.folder}: {name} has another camera than the other images of camera {number} in "
                    f"{database}; use --mode create"
                )
            known[number] = pycolmap.Camera(
                camera_id=number, model=camera.model, width=camera.width, height=camera.height, params=camera.params
            )
        return {**cameras, **known}


@contextmanager
def cameras_of(model: Any, database: Path) -> Iterator[None]:
    """Gives a database the cameras of a model for a while: verification uses the model's poses but these cameras.

    Its own cameras wait in a table, so that they are restored after a kill, too.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS astr_cameras AS SELECT camera_id, params FROM cameras")
        for number, camera in model.cameras.items():
            params = np.asarray(camera.params, "<f8").tobytes()
            connection.execute("UPDATE cameras SET params = ? WHERE camera_id = ?", (params, number))
        connection.commit()
    try:
        yield
    finally:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(
                "UPDATE cameras SET params = (SELECT params FROM astr_cameras WHERE astr_cameras.camera_id = "
                "cameras.camera_id)"
            )
            connection.execute("DROP TABLE astr_cameras")
            connection.commit()


def write_model(model: Any, folder: Path) -> None:
    """Writes a model in place of an older one. Raises KnownPosesError: the folder contains other files."""
    if folder.exists() and not (folder.is_dir() and all(path.name in MODEL_FILES for path in folder.iterdir())):
        raise KnownPosesError(f"{folder}: contains files that are not a COLMAP model; move or rename it")
    with scratch_folder(folder.parent, "posed") as scratch:
        made = scratch / folder.name
        made.mkdir()
        model.write(str(made))
        if folder.exists():
            folder.rename(scratch / "old")
        made.rename(folder)


def _camera_text(camera: Any) -> str:
    return f"{camera.model.name} {camera.width}x{camera.height}"
