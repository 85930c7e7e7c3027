"""Relative poses of pairs, and whether those of three photos can be true together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 200  # matches that decide between the four poses of an essential matrix
CLEAR = 0.7  # share of them before both cameras
PARALLAX = np.radians(2.0)  # median angle between rays, from which a direction is taken for known

Floats = NDArray[np.float64]


class RelativePose(NamedTuple):
    """x1 = rotation @ x0 + length * direction, with an unknown length."""

    rotation: Floats  # (3, 3)
    direction: Floats | None
    """(3,) of length 1; None: the photos were taken from almost one place."""

    def inverse(self) -> RelativePose:
        """From the second camera to the first."""
        turned = None if self.direction is None else -self.rotation.T @ self.direction
        return RelativePose(self.rotation.T, turned)


class Misfit(NamedTuple):
    """By how much the poses of three photos contradict each other, in degrees."""

    rotation: float
    direction: float | None
    """None: one of them has no direction."""


def relative_pose(essential: Floats, rays0: Floats, rays1: Floats) -> RelativePose | None:
    """The one of the four poses of a (3, 3) essential matrix with the points before both cameras.

    rays0, rays1: (M, 2) matched points on the plane at depth 1. None: no pose has nearly all of them there.
    Source: Hartley and Zisserman, Multiple View Geometry, 9.6.2.
    """
    if not np.isfinite(essential).all() or not essential.any() or not len(rays0):
        return None
    chosen = np.linspace(0, len(rays0) - 1, min(len(rays0), MOST)).astype(int)
    ends = [np.column_stack([rays[chosen], np.ones(len(chosen))]) for rays in (rays0, rays1)]
    left, _, right = np.linalg.svd(essential)
    left, right = left * np.sign(np.linalg.det(left)), right * np.sign(np.linalg.det(right))
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    best, share, angle = None, CLEAR, 0.0
    for rotation in (left @ turn @ right, left @ turn.T @ right):
        moved = ends[0] @ rotation.T
        for direction in (left[:, 2], -left[:, 2]):
            before = _before_both(moved, ends[1], direction)
            if before > share:
                best, share, angle = RelativePose(rotation, direction), before, _parallax(moved, ends[1])
    return best if best is None or angle >= PARALLAX else RelativePose(best.rotation, None)


def misfit(first: RelativePose, second: RelativePose, straight: RelativePose) -> Misfit:
    """Of the poses A to B, B to C, and A to C: how far the third is from what the first two allow.

    With unknown lengths, the direction of A to C may be any between those of its two parts.
    """
    rotation = _angle_of(straight.rotation.T @ second.rotation @ first.rotation)
    if first.direction is None or second.direction is None or straight.direction is None:
        return Misfit(rotation, None)
    return Misfit(rotation, _to_arc(straight.direction, second.rotation @ first.direction, second.direction))


def _before_both(moved: Floats, rays1: Floats, direction: Floats) -> float:
    """Share of points before both cameras: depth0 * moved + direction = depth1 * rays1, in the least-squares sense."""
    aa, ab, bb = (moved * moved).sum(1), (moved * rays1).sum(1), (rays1 * rays1).sum(1)
    ad, bd = moved @ direction, rays1 @ direction
    depth0, depth1 = ab * bd - bb * ad, aa * bd - ab * ad  # times the determinant, which is never negative
    return float(((depth0 > 0) & (depth1 > 0)).mean())


def _parallax(moved: Floats, rays1: Floats) -> float:
    """Median angle between matched rays."""
    lengths = np.linalg.norm(moved, axis=1) * np.linalg.norm(rays1, axis=1)
    return float(np.median(np.arcsin(np.clip(np.linalg.norm(np.cross(moved, rays1), axis=1) / lengths, 0, 1))))


def _angle_of(rotation: Floats) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def _to_arc(direction: Floats, start: Floats, end: Floats) -> float:
    """Degrees from a direction to the nearest on the shorter arc between two others."""
    grid = np.linspace(0, 1, 33)[:, None]
    between = (1 - grid) * start + grid * end
    between = between / np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-9)
    return float(np.degrees(np.arccos(np.clip((between @ direction).max(), -1, 1))))
