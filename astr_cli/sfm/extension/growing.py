"""A model whose database got more keypoints: made to fit it, and continued with more photos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.mapping.alignment import align
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, adjust, continue_mapping, copied

CORNER = 0.5  # COLMAP counts from the corner of the first pixel
PLACED = 3  # photos that a similarity takes


def check_model(model: Any, existing: Mapping[str, NDArray[np.float32]], folder: Path) -> None:
    """Raises AstrError unless the images of a model have the keypoints of its database, (K, 2) by name."""
    for image in model.images.values():
        known = existing.get(image.name, np.zeros((0, 2), np.float32))
        if image.num_points2D() != len(known):
            raise AstrError(
                f"{folder}: has {image.num_points2D()} keypoints of {image.name}, but the database has {len(known)}; "
                "run astr reconstruct again"
            )


def lengthened(model: Any, added: Mapping[str, NDArray[np.float32]]) -> Any:
    """A copy of a pycolmap.Reconstruction whose images have more keypoints, (K, 2) by name, after those that they have.

    Pixels have the centre of the top-left one at (0, 0). Points keep their numbers.
    """
    made = copied(model)
    made.delete_all_points2D_and_points3D()
    for number, image in model.images.items():
        more = added.get(image.name, np.zeros((0, 2), np.float32)).astype(np.float64) + CORNER
        made.image(number).points2D = pycolmap.Point2DList(
            [*image.points2D, *(pycolmap.Point2D(each) for each in more)]
        )
    for number in model.point3D_ids():
        made.add_point3D_with_id(number, model.point3D(number))
    return made


def continued(model: Any, database: Path, images: Path, scratch: Path, settings: MapperSettings, total: int) -> Any:
    """The model with those of the `total` photos of its database that fit it; existing poses and cameras stay."""
    start = scratch / "start"
    start.mkdir()
    model.write(start)
    held = settings._replace(held=settings.held | frozenset(model.cameras), hold_focals=False)
    found = continue_mapping(database, images, scratch, start, held, model.num_reg_images(), total)
    return found if found is not None else model


def readjusted(model: Any, database: Path, settings: MapperSettings) -> Any:
    """The model adjusted as a whole, moved back onto the photos as they stood before."""
    before = _centres(model)
    free = copied(model)
    adjust(free, database, settings)
    after = _centres(free)
    names = sorted(before.keys() & after.keys())
    if len(names) >= PLACED:
        back = align(np.array([after[name] for name in names]), np.array([before[name] for name in names]))
        free.transform(pycolmap.Sim3d(back.scale, pycolmap.Rotation3d(back.rotation), back.translation))
    return free


def largest_move(before: Any, after: Any) -> float:
    """How far a photo that both models have moved at most, in their units."""
    old, new = _centres(before), _centres(after)
    return max((float(np.linalg.norm(old[name] - new[name])) for name in old.keys() & new.keys()), default=0.0)


def _centres(model: Any) -> dict[str, NDArray[np.float64]]:
    return {model.image(number).name: model.image(number).projection_center() for number in model.reg_image_ids()}
