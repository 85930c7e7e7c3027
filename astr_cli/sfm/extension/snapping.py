"""Keypoints of new pairs: those near an existing one of their photo become that one, the others are appended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astr_cli.sfm.tracks.build import Tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage, scales

SAME = 0.25  # matched pixels: centres of one cell differ by less, through rounding
CANDIDATES = 4  # existing keypoints that one may become
UNKNOWN = -1  # in place of the point of a model
_NONE = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))


class Snapped(NamedTuple):
    """The keypoints of new tracks by the numbers that they have in a database."""

    numbers: NDArray[np.int64]  # (O,) of each keypoint of the tracks in its image
    distance: NDArray[np.float64]  # (O,) matched pixels to the existing keypoint; 0 for a new one
    added: tuple[NDArray[np.float32], ...]  # per image (K, 2) pixels, after the existing ones
    existing: NDArray[np.bool_]  # (O,) which became an existing one


class Existing(NamedTuple):
    """The keypoints that a photo has."""

    xy: NDArray[np.float32]  # (K, 2) ORIGINAL pixels, the centre of the top-left pixel at (0, 0)
    points: NDArray[np.int64]  # (K,) the point of the model that each shows; UNKNOWN: none


class _Near(NamedTuple):
    """Pairs of a keypoint of the tracks and an existing one within the radius."""

    row: NDArray[np.int64]
    number: NDArray[np.int64]
    distance: NDArray[np.float64]
    point: NDArray[np.int64]


def snap(tracks: Tracks, images: Sequence[MatchedImage], existing: Mapping[str, Existing], radius: float) -> Snapped:
    """Gives every keypoint the number of the nearest existing one within `radius` matched pixels, else a new number.

    Those of one track become keypoints of one point of the model: that which they are near in most photos, then the
    nearest. A keypoint that shows no point may be any track's. existing: by the names of photos.
    """
    scale = scales(images)
    parts = [
        _near_in(tracks, number, existing[image.name], scale[number], max(radius, SAME))
        for number, image in enumerate(images)
        if image.name in existing
    ]
    near = _Near(*(np.concatenate(column) for column in zip(*parts, strict=True))) if parts else _Near(*_NONE)
    near = _of_one_point(near, tracks.track)
    numbers, distance = np.full(len(tracks.track), -1, np.int64), np.zeros(len(tracks.track))
    numbers[near.row], distance[near.row] = near.number, near.distance
    found, added = numbers >= 0, []
    for number, image in enumerate(images):
        rows = np.arange(tracks.offsets[number], tracks.offsets[number + 1])
        new = rows[~found[rows]]
        numbers[new] = (len(existing[image.name].xy) if image.name in existing else 0) + np.arange(len(new))
        added.append(tracks.keypoints[new])
    return Snapped(numbers, distance, tuple(added), found)


def _near_in(tracks: Tracks, image: int, existing: Existing, scale: NDArray[np.float64], radius: float) -> _Near:
    """Up to `CANDIDATES` existing keypoints for each of one image."""
    tree = cKDTree(existing.xy.astype(np.float64) * scale)
    points = tracks.of_image(image).astype(np.float64) * scale
    distance, number = tree.query(points, k=list(range(1, CANDIDATES + 1)), distance_upper_bound=radius)
    row, rank = np.nonzero(np.isfinite(distance))
    chosen = number[row, rank].astype(np.int64)
    return _Near(row + tracks.offsets[image], chosen, distance[row, rank], existing.points[chosen])


def _of_one_point(near: _Near, track: NDArray[np.int32]) -> _Near:
    """One for each keypoint: of the point that its track is near, else of none; of equals the nearest."""
    known = np.flatnonzero(near.point != UNKNOWN)
    of = np.column_stack([track[near.row[known]], near.point[known]])
    pairs, place, count = np.unique(of, axis=0, return_inverse=True, return_counts=True)
    away = np.bincount(place.ravel(), near.distance[known], len(pairs)) / count
    best = np.lexsort((away, -count, pairs[:, 0]))
    best = best[np.diff(pairs[best, 0], prepend=-1) != 0]
    taken = np.full(int(track.max(initial=-1)) + 1, UNKNOWN, np.int64)
    taken[pairs[best, 0]] = pairs[best, 1]
    fits = near.point == taken[track[near.row]]
    order = np.lexsort((near.distance, near.point == UNKNOWN, near.row))
    order = order[(fits | (near.point == UNKNOWN))[order]]
    order = order[np.diff(near.row[order], prepend=-1) != 0]
    return _Near(*(column[order] for column in near))


def placed(
    tracks: Tracks, images: Sequence[MatchedImage], existing: Mapping[str, Existing], snapped: Snapped
) -> Tracks:
    """The tracks with each keypoint that became an existing one in the place of that."""
    keypoints = tracks.keypoints.copy()
    for number, image in enumerate(images):
        rows = np.flatnonzero(snapped.existing & (tracks.image == number))
        if len(rows):
            keypoints[rows] = existing[image.name].xy[snapped.numbers[rows]]
    return replace(tracks, keypoints=keypoints)


def _snap_image(
    points: NDArray[np.float32], existing: NDArray[np.float32] | None, scale: NDArray[np.float64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float32]]:
    if existing is None or not len(existing):
        return np.arange(len(points)), np.zeros(len(points)), points
    tree = cKDTree(existing.astype(np.float64) * scale)
    distance, nearest = tree.query(points.astype(np.float64) * scale, distance_upper_bound=radius)
    new = ~np.isfinite(distance)
    nearest[new] = len(existing) + np.arange(int(new.sum()))
    return nearest.astype(np.int64), np.where(new, 0.0, distance), points[new]


def renumbered(rows: NDArray[np.uint32], ends: Sequence[slice], snapped: Snapped) -> NDArray[np.uint32]:
    """The matches (M, 2) of a pair by the numbers in the database; each keypoint is matched once, with the one whose
    ends moved least.

    rows: indices into the keypoints of the two images, which are the rows `ends` of all keypoints.
    """
    numbers = np.column_stack([snapped.numbers[end][rows[:, side]] for side, end in enumerate(ends)])
    moved = np.column_stack([snapped.distance[end][rows[:, side]] for side, end in enumerate(ends)]).sum(1)
    numbers = numbers[np.argsort(moved, kind="stable")]
    for side in (0, 1):
        _, first = np.unique(numbers[:, side], return_index=True)
        numbers = numbers[np.sort(first)]
    return numbers.astype(np.uint32)
