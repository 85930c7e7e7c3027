"""How far estimated camera centres are from true ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Similarity(NamedTuple):
    """x -> scale * rotation @ x + translation."""

    scale: float
    rotation: NDArray[np.float64]  # (3, 3)
    translation: NDArray[np.float64]  # (3,)

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M, 3) points, moved."""
        return self.scale * points @ self.rotation.T + self.translation


def align(points: NDArray[np.float64], targets: NDArray[np.float64]) -> Similarity:
    """The similarity that brings `points` (M, 3) closest to `targets` (M, 3) in the least-squares sense (Umeyama 1991).

    Raises ValueError: fewer than 3 points, or all in one place. Points on one line leave a turn about it open.
    """
    if points.shape != targets.shape or points.ndim != 2 or points.shape[1] != 3 or len(points) < 3:
        raise ValueError(f"expected two (M, 3) arrays with M of at least 3, got {points.shape} and {targets.shape}")
    middle, target_middle = points.mean(0), targets.mean(0)
    centred, target_centred = points - middle, targets - target_middle
    spread = float((centred**2).sum())
    if spread == 0:
        raise ValueError("the points all lie in one place")
    left, singular, right = np.linalg.svd(target_centred.T @ centred)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    rotation = left @ np.diag(signs) @ right
    scale = float(singular @ signs) / spread
    return Similarity(scale, rotation, target_middle - scale * rotation @ middle)


def centre_error(centres: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Largest distance of camera centres (M, 3) to true ones (M, 3) after similarity alignment, over the largest
    distance of two true centres (docs/design.md, Numbers). Raises ValueError as `align` does.
    """
    left = np.linalg.norm(align(centres, truth).apply(centres) - truth, axis=1)
    extent = np.linalg.norm(truth[:, None] - truth[None], axis=2).max()
    return float(left.max() / extent)
