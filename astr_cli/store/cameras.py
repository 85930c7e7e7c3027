"""Known cameras: a COLMAP model folder (text or binary), a COLMAP database, or a cameras.txt alone. No pycolmap.

A cameras.txt alone assigns cameras to photos by size. It may also say which camera took which photo, in comment lines
that COLMAP skips: `# IMAGE CAMERA_ID NAME`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from astr_cli.store.camera_models import MODELS, Camera
from astr_cli.store.colmap_files import (
    CamerasError,
    read_cameras_binary,
    read_cameras_text,
    read_database,
    read_images_binary,
    read_images_text,
)

__all__ = ["MODELS", "Camera", "CameraBook", "CamerasError", "read_cameras"]


@dataclass(frozen=True)
class CameraBook:
    """Which camera took a photo."""

    source: Path
    cameras: Mapping[int, Camera]  # by COLMAP's camera id
    names: Mapping[str, int] | None  # photo -> camera id; None: cameras are known by image size alone

    def for_image(self, name: str, width: int, height: int) -> Camera | None:
        """The camera of the photo `name` of raw size `width` x `height`; None = unknown.

        A camera that the file gives by name may have another size. Raises CamerasError: several cameras have this size
        and nothing says which of them took this photo.
        """
        if self.names is not None:
            return self.cameras.get(self.names.get(name, -1))
        fitting = [camera for camera in self.cameras.values() if (camera.width, camera.height) == (width, height)]
        if len(fitting) > 1:
            raise CamerasError(
                f"{self.source}: cameras {fitting[0].camera_id} and {fitting[1].camera_id} are both {width}x{height}; "
                f"say which took {name}: put images.txt beside it, or add a line '# IMAGE CAMERA_ID {name}'"
            )
        return fitting[0] if fitting else None

    @property
    def fingerprint(self) -> str:
        """A short hash of the content, independent of the files' format and path: it changes when results would."""
        lines = [repr(self.cameras[key]) for key in sorted(self.cameras)]
        lines += [f"{name!r} {key}" for name, key in sorted((self.names or {}).items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read_cameras(path: Path) -> CameraBook:
    """Read a COLMAP model folder, a COLMAP database, or a cameras.txt / cameras.bin (with images.txt / images.bin
    beside it, or alone).

    A database's cameras whose focal length is COLMAP's guess (no prior) are left out. Raises CamerasError: missing,
    damaged, unknown camera model, wrong number of parameters (with the line).
    """
    if path.is_dir():
        return _read_model(path)
    if not path.is_file():
        raise CamerasError(f"{path}: no such file or folder; name a COLMAP model folder, database or cameras.txt")
    with path.open("rb") as file:
        head = file.read(16)
    if head == b"SQLite format 3\x00":
        cameras, names = read_database(path)
        return CameraBook(path, _by_id(cameras, path), names)
    return _read_files(path, path.suffix == ".bin")


def _read_model(folder: Path) -> CameraBook:
    for name in ("cameras.bin", "cameras.txt"):
        if (folder / name).is_file():
            return _read_files(folder / name, name.endswith(".bin"))
    inner = next((found.parent for found in sorted(folder.glob("*/cameras.*"))), None)
    hint = f"; did you mean {inner}?" if inner is not None else " (neither cameras.bin nor cameras.txt)"
    raise CamerasError(f"{folder}: not a COLMAP model{hint}")


def _read_files(path: Path, binary: bool) -> CameraBook:
    images = path.with_name("images.bin" if binary else "images.txt")
    if binary:
        cameras = read_cameras_binary(path)
        names = read_images_binary(images) if images.is_file() else None
    else:
        cameras, noted = read_cameras_text(path)
        names = read_images_text(images) if images.is_file() else noted or None
    by_id = _by_id(cameras, path)
    for name, key in (names or {}).items():
        if key not in by_id:
            raise CamerasError(f"{path}: {name} refers to camera {key}, which is missing; add it or correct the number")
    return CameraBook(path, by_id, names)


def _by_id(cameras: Iterable[Camera], path: Path) -> dict[int, Camera]:
    found: dict[int, Camera] = {}
    for camera in cameras:
        if camera.camera_id in found:
            raise CamerasError(f"{path}: two cameras have the number {camera.camera_id}; renumber one")
        found[camera.camera_id] = camera
    return found
