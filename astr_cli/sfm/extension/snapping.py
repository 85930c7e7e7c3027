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


class Snapped(NamedTuple):
    """The keypoints of new tracks by the numbers that they have in a database."""

    numbers: NDArray[np.int64]  # (O,) of each keypoint of the tracks in its image
    distance: NDArray[np.float64]  # (O,) matched pixels to the existing keypoint; 0 for a new one
    added: tuple[NDArray[np.float32], ...]  # per image (K, 2) pixels, after the existing ones
    existing: NDArray[np.bool_]  # (O,) which became an existing one


def snap(
    tracks: Tracks, images: Sequence[MatchedImage], existing: Mapping[str, NDArray[np.float32]], radius: float
) -> Snapped:
    """Gives every keypoint the number of the nearest existing one within `radius` matched pixels, else a new number.

    existing: the keypoints (K, 2) of photos that have some, by name; all in ORIGINAL pixels, the centre of the
    top-left pixel at (0, 0).
    """
    parts = [
        _snap_image(tracks.of_image(number), existing.get(image.name), scale, max(radius, SAME))
        for number, (image, scale) in enumerate(zip(images, scales(images), strict=True))
    ]
    numbers, distances, added = zip(*parts, strict=True)
    held = np.array([len(existing.get(image.name, ())) for image in images])
    found = np.concatenate(numbers)
    return Snapped(found, np.concatenate(distances), added, found < held[tracks.image])


def placed(
    tracks: Tracks, images: Sequence[MatchedImage], existing: Mapping[str, NDArray[np.float32]], snapped: Snapped
) -> Tracks:
    """The tracks with each keypoint that became an existing one in the place of that."""
    keypoints = tracks.keypoints.copy()
    for number, image in enumerate(images):
        rows = np.flatnonzero(snapped.existing & (tracks.image == number))
        if len(rows):
            keypoints[rows] = existing[image.name][snapped.numbers[rows]]
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
