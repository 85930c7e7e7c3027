"""Tracks from pairwise matches.

Every match has one end on the exact centre of its cell and a sub-pixel other end. All matches of one cell of one image
make a star: the same surface point, exact at its centre and measured once in each other image. A star is a track as it
stands; stars of different images that see the same point are joined (merge.py). Nothing is rounded to a grid, so no
match loses the precision of its fine stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.merge import Table, merge_stars, star_table
from astr_cli.sfm.rows import MatchRows, scales

# Working pixels. Larger radii join more (median track on simulated scenes: the same up to 2) but blur the points.
MERGE_RADIUS = 1.0


@dataclass(frozen=True, eq=False)
class Tracks:
    """Keypoints of N images, sorted by image and then by track: at most one of each track in an image."""

    image: NDArray[np.int32]  # (O,)
    track: NDArray[np.int64]  # (O,) 0..T-1
    keypoints: NDArray[np.float32]  # (O, 2) ORIGINAL pixels, the centre of the top-left pixel at (0, 0)
    scores: NDArray[np.float32]  # (O,)
    offsets: NDArray[np.int64]  # (N + 1,) image n has the rows offsets[n]:offsets[n + 1]
    of_row: NDArray[np.int64]  # (R,) the track of each match row

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(T,) images that each track sees."""
        return np.bincount(self.track)

    def of_image(self, image: int) -> NDArray[np.float32]:
        """(K, 2) keypoints of one image; a keypoint's index is its place here."""
        return self.keypoints[self.offsets[image] : self.offsets[image + 1]]


def build_tracks(rows: MatchRows, radius: float = MERGE_RADIUS) -> Tracks:
    """Joins all matches into tracks with at most one keypoint per image.

    radius: how far apart, in working pixels, two stars may lie in an image and still be taken for one point; 0 keeps
    every star as it is.
    """
    scale = scales(rows.frames)
    stars, of_row = _stars(rows, scale)
    table, of_star = merge_stars(stars, radius)
    order = np.lexsort((table.group, table.image))
    image = table.image[order]
    keypoints = (table.position[order] + 0.5) / scale[image] - 0.5
    offsets = np.searchsorted(image, np.arange(len(scale) + 1))
    return Tracks(image, table.group[order], keypoints.astype(np.float32), table.score[order], offsets, of_star[of_row])


def _stars(rows: MatchRows, scale: NDArray[np.float64]) -> tuple[Table, NDArray[np.int64]]:
    """Groups rows by (image, reference cell), and the group of each row.

    Should a cell have two leaves in one image, the one with the higher score stays.
    """
    at_first = rows.reference == 0
    ends = rows.pairs[rows.pair]
    centre_image, leaf_image = np.where(at_first, ends.T, ends.T[::-1])
    centre = np.where(at_first[:, None], rows.keypoints0, rows.keypoints1).astype(np.float64)
    leaf = np.where(at_first[:, None], rows.keypoints1, rows.keypoints0).astype(np.float64)
    centre = (centre + 0.5) * scale[centre_image] - 0.5
    leaf = (leaf + 0.5) * scale[leaf_image] - 0.5
    # The centres of one cell are equal up to float32 rounding; a quarter of a pixel tells any two cells apart.
    cell = np.rint(centre * 4).astype(np.int64) + 4
    keys = (centre_image.astype(np.int64) << 42) | (cell[:, 1] << 21) | cell[:, 0]
    cells, where, star = np.unique(keys, return_index=True, return_inverse=True)
    best = np.zeros(len(cells), np.float32)
    np.maximum.at(best, star, rows.scores)
    group = np.concatenate([np.arange(len(cells)), star])
    image = np.concatenate([centre_image[where], leaf_image]).astype(np.int32)
    position = np.concatenate([centre[where], leaf])
    score = np.concatenate([best, rows.scores])
    order = np.lexsort((-score, image, group))
    order = order[np.diff(group[order] * len(rows.frames) + image[order], prepend=-1) != 0]
    return star_table(group[order], image[order], position[order], score[order]), star
