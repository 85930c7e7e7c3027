"""The parts of COLMAP's text, binary and database files that say which camera took which image."""

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from astr_cli.errors import AstrError
from astr_cli.names import NameProblem, clean_name
from astr_cli.store.camera_models import MODELS, Camera, problem_of_camera

POINT_BYTES = 24  # x, y (f64) and the 3-D point's id (u64), in images.bin


class CamerasError(AstrError):
    """Cameras that cannot be used; the message says file, line, what is wrong and what to do."""


def read_cameras_text(path: Path) -> tuple[list[Camera], dict[str, int]]:
    """cameras.txt: the cameras, and the photos named in lines `# IMAGE CAMERA_ID NAME` with their camera's id."""
    cameras: list[Camera] = []
    names: dict[str, int] = {}
    for number, line in _lines(path):
        words = line.split()
        try:
            if line.startswith("#"):
                note = line[1:].split(maxsplit=2)
                if len(note) == 3 and note[0] == "IMAGE" and note[1].isdecimal():
                    names[_name(note[2], f"{path}:{number}")] = int(note[1])
            elif words:
                key, width, height = int(words[0]), int(words[2]), int(words[3])
                cameras.append(_camera(key, words[1], width, height, tuple(map(float, words[4:]))))
        except (ValueError, IndexError):
            raise CamerasError(
                f"{path}:{number}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS..., found: {line[:60]}"
            ) from None
        except CamerasError as error:
            raise CamerasError(f"{path}:{number}: {error}") from None
    if not cameras:
        raise CamerasError(f"{path}: holds no camera; a line is CAMERA_ID MODEL WIDTH HEIGHT PARAMS...")
    return cameras, names


def read_images_text(path: Path) -> dict[str, int]:
    """images.txt: image name -> camera id. Every second line holds points and may be empty."""
    names: dict[str, int] = {}
    points = False
    for number, line in _lines(path):
        if points:
            points = False
        elif line and not line.startswith("#"):
            words = line.split(maxsplit=9)
            if len(words) != 10 or not words[8].isdecimal():
                raise CamerasError(f"{path}:{number}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
            names[_name(words[9], f"{path}:{number}")] = int(words[8])
            points = True
    return names


def read_cameras_binary(path: Path) -> list[Camera]:
    """cameras.bin."""
    models = {model.number: name for name, model in MODELS.items()}
    cameras = []
    with path.open("rb") as file:
        for _ in range(_unpack(file, "<Q", path)[0]):
            key, number, width, height = _unpack(file, "<IiQQ", path)
            model = models.get(number)
            if model is None:
                raise CamerasError(f"{path}: camera {key} has unknown model number {number}; use a COLMAP model")
            params = _unpack(file, f"<{MODELS[model].params}d", path)
            cameras.append(_named(path, key, model, width, height, params))
    return cameras


def read_images_binary(path: Path) -> dict[str, int]:
    """images.bin: image name -> camera id."""
    names: dict[str, int] = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(_unpack(file, "<Q", path)[0]):
            key = int(_unpack(file, "<I7dI", path)[-1])
            name = bytearray()
            while (letter := file.read(1)) != b"\0":
                if not letter:
                    raise _cut_off(path)
                name += letter
            points = POINT_BYTES * _unpack(file, "<Q", path)[0]
            if points > size - file.tell():
                raise _cut_off(path)
            file.seek(points, 1)
            names[_name(bytes(name), str(path))] = key
        if file.tell() > path.stat().st_size:
            raise _cut_off(path)
    return names


def read_database(path: Path) -> tuple[list[Camera], dict[str, int]]:
    """A COLMAP database: cameras with a known focal length, and image name -> camera id."""
    models = {model.number: name for name, model in MODELS.items()}
    cameras = []
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT camera_id, model, width, height, params, prior_focal_length FROM cameras")
            for key, number, width, height, blob, prior in rows.fetchall():
                if not prior:  # COLMAP's 1.2 max(w, h): a guess, and a guess is worse than unknown
                    continue
                model = models.get(number)
                if model is None:
                    raise CamerasError(f"{path}: camera {key} has unknown model number {number}; use a COLMAP model")
                params = struct.unpack(f"<{len(blob) // 8}d", blob)
                cameras.append(_named(path, key, model, width, height, params))
            rows = database.execute("SELECT name, camera_id FROM images")
            names = {_name(name, str(path)): camera for name, camera in rows}
    except (sqlite3.Error, struct.error, TypeError) as error:
        raise CamerasError(f"{path}: not a readable COLMAP database ({error}); name another file") from None
    return cameras, names


def _name(name: object, where: str) -> str:
    try:
        return clean_name(name)
    except NameProblem as problem:
        raise CamerasError(f"{where}: {problem}") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CamerasError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.strip()


def _camera(key: int, model: str, width: int, height: int, params: tuple[float, ...]) -> Camera:
    problem = problem_of_camera(model, width, height, params)
    if problem is not None:
        raise CamerasError(problem)
    return Camera(model, width, height, params, key)


def _named(path: Path, key: int, model: str, width: int, height: int, params: tuple[float, ...]) -> Camera:
    try:
        return _camera(key, model, width, height, params)
    except CamerasError as error:
        raise CamerasError(f"{path}: camera {key}: {error}") from None


def _unpack(file: BinaryIO, form: str, path: Path) -> tuple[Any, ...]:
    size = struct.calcsize(form)
    data = file.read(size)
    if len(data) != size:
        raise _cut_off(path)
    return struct.unpack(form, data)


def _cut_off(path: Path) -> CamerasError:
    return CamerasError(f"{path}: cut off; write the model again")
