"""A part of a photo at some size: pure geometry."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
CELL, MULTIPLE = 8, 32


class Window(NamedTuple):
    """A part of a photo, sides multiples of 32; it may reach beyond the edges, where the border repeats."""

    x: int
    y: int
    width: int
    height: int
