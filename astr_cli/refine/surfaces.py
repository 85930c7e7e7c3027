"""How small pieces of a model's surface look in each photo: from points, their neighbours and the cameras."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from astr_cli.refine.observations import Floats, Observations, grouped

NEIGHBOURS = 12
ROUNDS = 4
STEEPEST = np.cos(np.radians(78))  # between a normal and a view
FLATNESS = 0.35  # spread across the plane over the smaller one along it; above, the points are no plane
REACH = 1e-4  # of the distance to the camera: how far tangents go for the differences of projections

# World points (K, 3) to pixels (K, 2) of a photo, by its number.
Project = Callable[[int, Floats], Floats]


class TangentViews(NamedTuple):
    """What `plan_from_surfaces` takes."""

    jacobians: Floats  # (O, 2, 2) photo pixels per world unit along the two tangents of the track's point
    projected: Floats  # (O, 2) where the point is in the photo


def tangent_views(points: Floats, seen: Observations, centres: Floats, project: Project) -> TangentViews:
    """Tangents of T points (T, 3), one per track, as seen by the photos that observe them from centres (N, 3).

    A tangent plane is the robust plane through the nearest points. Where these are no plane, or one of the photos looks
    along it, it is at right angles to the mean viewing direction.
    """
    views = _directions(points, seen, centres)
    normals = _normals(points)
    mean = np.zeros_like(points)
    np.add.at(mean, seen.track, views)
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    normals *= np.where((normals * mean).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    facing = np.ones(len(points))
    np.minimum.at(facing, seen.track, (normals[seen.track] * views).sum(axis=1))
    normals = np.where((facing > STEEPEST)[:, None], normals, mean)
    tangents = _tangents(normals)
    jacobians, projected = np.empty((len(views), 2, 2)), np.empty((len(views), 2))
    of_photo = grouped(seen.photo, len(seen.sizes))
    for photo in range(len(seen.sizes)):
        rows = of_photo.rows(photo)
        at = points[seen.track[rows]]
        projected[rows] = project(photo, at)
        reach = REACH * np.linalg.norm(at - centres[photo], axis=1, keepdims=True)
        for k in range(2):
            step = reach * tangents[seen.track[rows], k]
            jacobians[rows, :, k] = (project(photo, at + step) - project(photo, at - step)) / (2 * reach)
    return TangentViews(jacobians, projected)


def _directions(points: Floats, seen: Observations, centres: Floats) -> Floats:
    """(O, 3) unit vectors from points to cameras."""
    views = centres[seen.photo] - points[seen.track]
    unit: Floats = views / np.maximum(np.linalg.norm(views, axis=1, keepdims=True), 1e-12)
    return unit


def _normals(points: Floats) -> Floats:
    """(T, 3) normals of the planes through the nearest points; 0 where there is none.

    Four rounds of weighted principal components, weights 1 / (1 + (distance / their root mean square)^2).
    """
    if len(points) < 4:
        return np.zeros_like(points)
    _, near = cKDTree(points).query(points, min(NEIGHBOURS, len(points)))
    around = points[near]
    weights = np.ones(near.shape)
    for _ in range(ROUNDS):
        total = weights.sum(axis=1)[:, None, None]
        apart = around - (weights[..., None] * around).sum(axis=1, keepdims=True) / total
        spread = apart.transpose(0, 2, 1) @ (weights[..., None] * apart) / total
        values, vectors = np.linalg.eigh(spread)
        distance = (apart @ vectors[:, :, :1])[..., 0]
        weights = 1 / (1 + distance**2 / np.maximum(values[:, :1], 1e-24))
    flat = values[:, 0] <= FLATNESS**2 * values[:, 1]
    return np.where(flat[:, None], vectors[:, :, 0], 0.0)


def _tangents(normals: Floats) -> Floats:
    """(T, 2, 3) unit vectors at right angles to normals (T, 3) and each other, turning the same way about all."""
    least = np.eye(3)[np.abs(normals).argmin(axis=1)]
    first = np.cross(normals, least)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
    return np.stack([first, np.cross(normals, first)], axis=1)
