"""Tracks from pairwise matches.

Every match has one end on the exact centre of its cell and a sub-pixel other end. All matches of one cell of one image
make a star: one surface point, exact at its centre and measured once in each other image. A star is already a track;
stars of different images that see the same point are joined (merge.py). Nothing is rounded to a grid, so every
match keeps the precision of its fine stage.

Matches are read image by image, each pair twice, and never all held in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.tracks.match_rows import MatchRows, PairRows, scales
from astr_cli.sfm.tracks.merge import merge_stars
from astr_cli.sfm.tracks.observations import (
    PIECE,
    Observations,
    gather_observations,
    give_back,
    reordered,
    sort_by_image,
)

# Matched pixels. Larger radii join more (median track on simulated scenes: the same up to 2) but blur the points.
MERGE_RADIUS = 1.0


@dataclass(frozen=True, eq=False)
class Tracks:
    """Keypoints of N images, sorted by image and then by track: at most one of each track in an image."""

    image: NDArray[np.int32]  # (O,)
    track: NDArray[np.int32]  # (O,) 0..T-1
    keypoints: NDArray[np.float32]  # (O, 2) ORIGINAL pixels, the centre of the top-left pixel at (0, 0)
    scores: NDArray[np.float32]  # (O,)
    offsets: NDArray[np.int64]  # (N + 1,) image n has the rows offsets[n]:offsets[n + 1]
    of_row: NDArray[np.int32]  # (R,) the track of each match row
    borders: NDArray[np.int64]  # (P + 1,) pair p has the rows borders[p]:borders[p + 1], once these are sorted by pair

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(T,) images that each track sees."""
        count = int(self.track.max(initial=-1)) + 1
        found = np.zeros(count, np.int64)
        for begin in range(0, len(self.track), PIECE):  # bincount takes eight bytes per row
            found += np.bincount(self.track[begin : begin + PIECE], minlength=count)
        return found

    def of_image(self, image: int) -> NDArray[np.float32]:
        """(K, 2) keypoints of one image; a keypoint's index is its place here."""
        return self.keypoints[self.offsets[image] : self.offsets[image + 1]]


def build_tracks(rows: PairRows | MatchRows, radius: float = MERGE_RADIUS) -> Tracks:
    """Joins all matches into tracks with at most one keypoint per image.

    radius: how far apart, in matched pixels, two stars may lie in an image and still be taken for one point; 0 keeps
    every star as it is.
    """
    if isinstance(rows, MatchRows):
        ordered = rows.sorted()
        tracks = build_tracks(ordered, radius)
        tracks.of_row[ordered.order] = tracks.of_row.copy()
        return tracks
    scale = scales(rows.images)
    stars, of_row = _stars(rows, scale)
    give_back()
    borders = np.concatenate([[0], np.cumsum([len(part) for part in of_row])])
    kept, of_star = merge_stars(stars, radius)
    for part in of_row:
        np.take(of_star, part, out=part)
    of_all = np.concatenate(of_row or [of_star[:0]])
    del of_row, of_star
    give_back()
    stars.image[~kept] = len(scale)
    order, offsets = sort_by_image(stars.image, len(scale))
    for begin, end in pairwise(offsets):
        order[begin:end] = order[begin:end][np.argsort(stars.group[order[begin:end]])]
    track, image, keypoints, score = stars
    del stars, kept
    # One after another: a column has a second copy only while it is sorted.
    track = reordered(track, order)
    image = reordered(image, order)
    keypoints = reordered(keypoints, order)
    score = reordered(score, order)
    for number in range(0, len(image), PIECE):
        piece = slice(number, number + PIECE)
        keypoints[piece] = (keypoints[piece].astype(np.float64) + 0.5) / scale[image[piece]] - 0.5
    return Tracks(image, track, keypoints, score, offsets, of_all, borders)


def _stars(rows: PairRows, scale: NDArray[np.float64]) -> tuple[Observations, list[NDArray[np.int32]]]:
    """Groups matches by (image, reference cell), sorted by that, and for each pair the group of each of its matches.

    If a cell has two matches in one image, the one with the higher score stays.
    """
    ends = rows.pairs.ravel()
    order = np.argsort(ends, kind="stable")
    borders = np.searchsorted(ends[order], np.arange(len(scale) + 1))
    of_row: list[NDArray[np.int32]] = [np.zeros(0, np.int32)] * len(rows.pairs)
    gathered, count = gather_observations(), 0
    for image in range(len(scale)):
        leaves, places = [], []
        for end in order[borders[image] : borders[image + 1]]:
            pair, side = divmod(int(end), 2)
            matches = rows.read(pair)
            if len(of_row[pair]) != len(matches):
                of_row[pair] = np.zeros(len(matches), np.int32)
            mine = np.flatnonzero(matches.reference == side)
            points = (matches.keypoints0[mine], matches.keypoints1[mine])
            other = rows.pairs[pair, 1 - side]
            leaves.append((points[side], points[1 - side], np.full(len(mine), other), matches.scores[mine]))
            places.append((pair, mine))
        if leaves:
            centre, leaf, leaf_image, score = (np.concatenate(column) for column in zip(*leaves, strict=True))
            stars, star = _stars_of_image(image, centre, leaf, leaf_image, score, scale)
            ends_of = np.cumsum([len(mine) for _, mine in places])[:-1]
            for (pair, mine), part in zip(places, np.split(star, ends_of), strict=True):
                of_row[pair][mine] = part + count
            gathered.add(stars.group + np.int32(count), *stars[1:])
            count += int(stars.group[-1]) + 1 if len(stars.group) else 0
    return Observations(*gathered.take()), of_row


def _stars_of_image(
    image: int,
    centre: NDArray[np.float32],
    leaf: NDArray[np.float32],
    leaf_image: NDArray[np.int64],
    score: NDArray[np.float32],
    scale: NDArray[np.float64],
) -> tuple[Observations, NDArray[np.int64]]:
    """The stars of one image from its M centres and leaves (original pixels), and the star of each."""
    middle = (centre.astype(np.float64) + 0.5) * scale[image] - 0.5
    end = (leaf.astype(np.float64) + 0.5) * scale[leaf_image] - 0.5
    # The centres of one cell are equal up to float32 rounding; a quarter of a pixel tells any two cells apart.
    cell = np.rint(middle * 4).astype(np.int64) + 4
    cells, where, star = np.unique((cell[:, 1] << 32) | cell[:, 0], return_index=True, return_inverse=True)
    best = np.zeros(len(cells), np.float32)
    np.maximum.at(best, star, score)
    group = np.concatenate([np.arange(len(cells)), star])
    seen = np.concatenate([np.full(len(cells), image), leaf_image])
    position = np.concatenate([middle[where], end])
    scores = np.concatenate([best, score])
    order = np.lexsort((-scores, seen, group))
    order = order[np.diff(group[order] * len(scale) + seen[order], prepend=-1) != 0]
    columns = (group.astype(np.int32), seen.astype(np.int32), position.astype(np.float32), scores)
    return Observations(*(column[order] for column in columns)), star
