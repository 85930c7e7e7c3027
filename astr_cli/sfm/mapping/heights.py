"""Whether a model's heights are heights: its depth under cameras that look down beside the drone's own height."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.images.drone import drone_tags
from astr_cli.sfm.mapping.depths import depths

DOWN = -65.0  # degrees of the gimbal's pitch; cameras below look down
TOLERATED = 0.15  # of the drone's height above its take-off: ground is not level, and a barometer drifts


class Heights(NamedTuple):
    """Heights of cameras above the ground, in the median of those that look down."""

    photos: int
    """That look down and have a height."""
    told: float
    """Metres above the take-off, by the drone."""
    found: float
    """Metres above the points, by the model."""

    @property
    def change(self) -> float:
        """By which part of the told height the found one differs."""
        return self.found / self.told - 1

    @property
    def consistent(self) -> bool:
        """Whether the two agree."""
        return abs(self.change) <= TOLERATED


def heights(model: Any, images: Path) -> Heights | None:
    """The heights of a pycolmap.Reconstruction in metres; None: no camera looks down and has a height.

    images: the folder of the photos. The model may be tilted: depth counts along the views.
    """
    told, found = [], []
    for number, seen in depths(model):
        tags = drone_tags(images / model.image(number).name)
        if tags.height is not None and tags.height > 1 and tags.pitch is not None and tags.pitch < DOWN:
            told.append(tags.height)
            found.append(float(np.median(seen)) * -math.sin(math.radians(tags.pitch)))
    return Heights(len(told), float(np.median(told)), float(np.median(found))) if told else None
