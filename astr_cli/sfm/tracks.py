"""Tracks from pairwise matches.

Every match has one end on the exact centre of its cell and a sub-pixel other end. All matches of one cell of one image
make a star: the same surface point, exact at its centre and measured once in each other image. A star is a track as it
stands; stars of different images that see the same point are joined (merge.py). Nothing is rounded to a grid, so no
match loses the precision of its fine stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astr_cli.sfm.merge import Table, merge_stars, star_table
from astr_cli.sfm.rows import MatchRows, scales


@dataclass(frozen=True)
class Tracks:
    """Keypoints of all images, sorted by image and then by track; the keypoint's index in its image is its rank there."""

    image: np.ndarray  # (O,) int32
    track: np.ndarray  # (O,) int64, 0..T-1
    keypoints: np.ndarray  # (O, 2) float32, ORIGINAL pixels, centre of the top-left pixel at (0, 0)
    scores: np.ndarray  # (O,) float32
    offsets: np.ndarray  # (N + 1,) int64: image n has the rows offsets[n]:offsets[n + 1]

    @property
    def lengths(self) -> np.ndarray:
        """(T,) images in each track."""
        return np.bincount(self.track)

    def of_image(self, image: int) -> np.ndarray:
        """(K, 2) float32 keypoints of one image."""
        return self.keypoints[self.offsets[image] : self.offsets[image + 1]]


def build_tracks(rows: MatchRows, radius: float = 1.0) -> Tracks:
    """Joins all matches into tracks with at most one keypoint per image.

    radius: how far apart, in working pixels, two stars may lie in an image and still be taken for one point; 0 keeps
    every star as it is.
    """
    scale = scales(rows.frames)
    return _finish(merge_stars(_stars(rows, scale), radius), scale)


def _stars(rows: MatchRows, scale: np.ndarray) -> Table:
    """Groups rows by (image, reference cell); of two leaves in one image the one with the higher score stays."""
    at_first = rows.reference == 0
    ends = rows.pairs[rows.pair]
    centre_image, leaf_image = np.where(at_first, ends[:, 0], ends[:, 1]), np.where(at_first, ends[:, 1], ends[:, 0])
    swap = at_first[:, None]
    centre = np.where(swap, rows.keypoints0, rows.keypoints1).astype(np.float64)
    leaf = np.where(swap, rows.keypoints1, rows.keypoints0).astype(np.float64)
    centre = (centre + 0.5) * scale[centre_image] - 0.5
    leaf = (leaf + 0.5) * scale[leaf_image] - 0.5
    # Centres of one cell are equal up to float32 rounding; a quarter of a working pixel tells any two cells apart.
    cell = np.rint(centre * 4).astype(np.int64) + 4
    key = (centre_image.astype(np.int64) << 42) | (cell[:, 1] << 21) | cell[:, 0]
    keys, where, star = np.unique(key, return_index=True, return_inverse=True)
    best = np.zeros(len(keys), np.float32)
    np.maximum.at(best, star, rows.scores)
    group = np.concatenate([np.arange(len(keys)), star])
    image = np.concatenate([centre_image[where], leaf_image]).astype(np.int32)
    position = np.concatenate([centre[where], leaf])
    score = np.concatenate([best, rows.scores])
    order = np.lexsort((-score, image, group))
    new = np.diff(group[order] * len(rows.frames) + image[order], prepend=-1) != 0
    order = order[new]
    return star_table(group[order], image[order], position[order], score[order])


def _finish(table: Table, scale: np.ndarray) -> Tracks:
    order = np.lexsort((table.group, table.image))
    image = table.image[order]
    keypoints = (table.position[order] + 0.5) / scale[image] - 0.5
    offsets = np.searchsorted(image, np.arange(len(scale) + 1))
    return Tracks(image, table.group[order], keypoints.astype(np.float32), table.score[order], offsets)
