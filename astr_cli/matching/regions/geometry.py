"""Parts of photos, and how large things look in them: pure geometry."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
CELL, MULTIPLE = 8, 32
SAMPLE = 150  # points whose distances give the ratio
APART = 4.0  # pixels: shorter distances say nothing of the ratio


class Window(NamedTuple):
    """A part of a photo, sides multiples of 32; it may reach beyond the edges, where the border repeats."""

    x: int
    y: int
    width: int
    height: int


def size_ratio(points0: Points, points1: Points) -> float:
    """Size of an object in image1 over its size in image0: the median over the distances between matches (M, 2)."""
    order = np.lexsort((points0[:, 0], points0[:, 1]))
    some = order[np.linspace(0, len(order) - 1, min(len(order), SAMPLE)).astype(np.int64)]
    first, second = np.triu_indices(len(some), 1)
    distance0, distance1 = (
        np.linalg.norm(points[some[first]] - points[some[second]], axis=1) for points in (points0, points1)
    )
    far = (distance0 > APART) & (distance1 > APART)
    return float(np.exp(np.median(np.log(distance1[far] / distance0[far])))) if far.any() else 1.0
