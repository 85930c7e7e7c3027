"""Distances of a model's points from its cameras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def depths(model: Any) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Per registered image of a pycolmap.Reconstruction with points, its number and (M,) their depths."""
    for number in sorted(model.reg_image_ids()):
        image = model.image(number)
        seen = [model.point3D(each.point3D_id).xyz for each in image.get_observation_points2D()]
        if seen:
            yield number, (image.cam_from_world() * np.array(seen))[:, 2]


def relative_depth(model: Any) -> float:
    """Median depth of the points over the spread of the camera centres."""
    centres = np.array([model.image(number).projection_center() for number in model.reg_image_ids()])
    found = [float(np.median(seen)) for _, seen in depths(model)]
    return float(np.median(found) / np.sqrt(((centres - centres.mean(0)) ** 2).sum(1).mean()))
