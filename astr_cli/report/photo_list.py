"""What a page shows of the photos: thumbnails, and what became of each photo."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.errors import ImageError
from astr_cli.images.info import ImageInfo, read_info
from astr_cli.images.thumbnail import Thumbnail, thumbnail
from astr_cli.images.upright import UPRIGHT, to_upright, upright_size
from astr_cli.matching.resources.progress import Progress
from astr_cli.report.sources import Sources
from astr_cli.sfm.database.atomic import read_only
from astr_cli.sfm.database.contents import read_existing
from astr_cli.store.matches_file import MatchesFile

THUMBNAILS = 8_000_000  # bytes of all thumbnails
LARGEST = 640  # pixels of their long sides
BYTES_PER_PIXEL = 0.3  # of a JPEG, about
FULL = 65535  # a photo's right and lower edge, of places in it


class StoredPhoto(NamedTuple):
    """What the files say of a photo, before it is opened."""

    name: str
    size: tuple[int, int] | None
    """(width, height) of the raw photo; None: unknown."""
    keypoints: int | None
    prior: float | None
    """Focal length before the mapping, pixels; None: unknown."""
    known: bool
    """Whether that is more than a guess."""


class Face(NamedTuple):
    """A photo as it looks; without an image where it cannot be read."""

    size: tuple[int, int]
    """(width, height) of the raw photo."""
    orientation: int
    image: Thumbnail | None
    problem: str
    """Why there is no image."""
    focal: float | None
    """From EXIF, raw pixels; None: unknown."""

    def places(self, points: NDArray[np.float64]) -> NDArray[np.uint16]:
        """(M, 2) raw pixels -> the same places in the upright photo, 0 to 65535 from edge to edge."""
        width, height = upright_size(self.size, self.orientation)
        upright = (to_upright(points, self.size, self.orientation) + 0.5) / (width, height)
        return np.clip(np.rint(upright * FULL), 0, FULL).astype(np.uint16)


def list_photos(sources: Sources, posed: Sequence[tuple[str, tuple[int, int]]]) -> list[StoredPhoto]:
    """All photos by name: of the database, else of matches.h5; and those of the model (names and sizes)."""
    found: dict[str, StoredPhoto] = {}
    if sources.database is not None:
        found |= {photo.name: photo for photo in _of_database(sources.database)}
    elif sources.matches is not None:
        with MatchesFile(sources.matches) as file:
            for pair in file.pairs():
                for name, size in ((pair.name0, pair.size0), (pair.name1, pair.size1)):
                    found[name] = StoredPhoto(name, size, None, None, False)
    for name, size in posed:
        found.setdefault(name, StoredPhoto(name, size, None, None, False))
    return [found[name] for name in sorted(found)]


def _of_database(database: Path) -> list[StoredPhoto]:
    existing = read_existing(database)
    with closing(read_only(database)) as connection:
        priors = _priors(connection)
    rows = {number: points.rows for number, points in existing.points.items()}
    return [
        StoredPhoto(name, image.size, rows.get(image.number, 0), *priors.get(image.camera, (None, False)))
        for name, image in existing.images.items()
    ]


def _priors(connection: sqlite3.Connection) -> dict[int, tuple[float | None, bool]]:
    """Camera -> its first parameter, which is a focal length in COLMAP's models, and whether it is known."""
    query = "SELECT camera_id, params, prior_focal_length FROM cameras"
    found = {}
    for number, params, known in connection.execute(query):
        values = np.frombuffer(params, np.float64)
        found[number] = (float(values[0]) if len(values) else None, bool(known))
    return found


def read_faces(photos: Sequence[StoredPhoto], root: Path | None, tell: Callable[[str], None]) -> Mapping[str, Face]:
    """Opens every photo, once; one that is gone or damaged gets no image."""
    room = max(1500, THUMBNAILS // max(1, len(photos)))
    side = int(np.clip((room / BYTES_PER_PIXEL / 0.75) ** 0.5, 96, LARGEST))
    progress = Progress(tell, "reading photos", len(photos), "photo")
    faces = {}
    for number, photo in enumerate(photos, 1):
        faces[photo.name] = _face(photo, root, side, room)
        progress.at(number)
    return faces


def _face(photo: StoredPhoto, root: Path | None, side: int, room: int) -> Face:
    info: ImageInfo | None = None
    try:
        if root is None:
            raise ImageError("the folder of the photos is gone")
        info = read_info(root, photo.name)
        if photo.size is not None and info.size != photo.size:
            raise ImageError(f"the photo is {info.width}x{info.height} now")
        return Face(info.size, info.orientation, thumbnail(info, side, room), "", info.focal)
    except ImageError as error:
        problem = str(error).removeprefix(f"{photo.name}: ")
    return Face(photo.size or (4, 3), UPRIGHT, None, problem, info.focal if info is not None else None)
