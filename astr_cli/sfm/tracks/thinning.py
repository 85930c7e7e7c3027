"""Fewer keypoints, spread over the image: for databases that would be too large, or mapping too slow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.tracks.build import Tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage

CELLS = 256  # that an image is cut into, at most; each gives its best keypoint before any gives its second


def thin_tracks(tracks: Tracks, images: tuple[MatchedImage, ...], most: int | None = None, shortest: int = 2) -> Tracks:
    """Leaves out tracks of fewer than `shortest` images, then keeps up to `most` keypoints per image.

    The keypoints of tracks that the images before have kept go first, then those of long tracks, then those of a high
    score, but cell after cell of a grid over the image takes its turn, so that a rich corner does not crowd out the
    rest. Tracks that are left with fewer than `shortest` images go too.
    `of_row` is -1 for matches whose track is gone.
    """
    if most is None and shortest <= 2:
        return tracks  # every track sees two images: no need to search tens of millions of keypoints
    kept = tracks.lengths[tracks.track] >= shortest
    if most is not None:
        lengths, taken = tracks.lengths, np.zeros(len(tracks.lengths), bool)
        for image, matched in enumerate(images):
            rows = np.arange(tracks.offsets[image], tracks.offsets[image + 1])
            rows = rows[kept[rows]]
            if len(rows) > most:
                track = tracks.track[rows]
                worth = taken[track], lengths[track], tracks.scores[rows]
                order = spread(tracks.keypoints[rows], matched.size, most, *worth)
                kept[rows[order[most:]]] = False
                rows = rows[order[:most]]
            taken[tracks.track[rows]] = True
    return only_keypoints(tracks, kept, shortest)


def spread(
    points: NDArray[np.float32], size: tuple[int, int], most: int, *worth: NDArray[np.generic]
) -> NDArray[np.int64]:
    """An order of (K, 2) points of an image of `size` (width, height) in which the first `most` cover it well.

    worth: what makes a point better, most important first. A cell's second point comes after every cell's first.
    """
    width, height = size
    cells = max(1, min(CELLS, most // 4))
    columns = max(1, round((cells * width / height) ** 0.5))
    rows = max(1, round(cells / columns))
    at = np.floor((points.astype(np.float64) + 0.5) / size * (columns, rows)).astype(np.int64)
    cell = np.clip(at[:, 1], 0, rows - 1) * columns + np.clip(at[:, 0], 0, columns - 1)
    keys = [-value.astype(np.float64) for value in reversed(worth)]
    by_cell = np.lexsort((*keys, cell))
    begin = np.searchsorted(cell[by_cell], cell[by_cell])
    turn = np.empty(len(points), np.int64)
    turn[by_cell] = np.arange(len(points)) - begin
    return np.lexsort((*keys, turn))


def only_keypoints(tracks: Tracks, kept: NDArray[np.bool_], shortest: int = 2) -> Tracks:
    """The tracks with only these keypoints, renumbered, unless that makes them shorter than `shortest`."""
    lengths = np.bincount(tracks.track[kept], minlength=len(tracks.lengths))
    stays = lengths >= shortest
    if stays.all() and kept.all():
        return tracks
    kept = kept & stays[tracks.track]
    number = np.where(stays, np.cumsum(stays) - 1, -1).astype(np.int32)
    counts = np.concatenate([[0], np.cumsum(kept)])
    return replace(
        tracks,
        image=tracks.image[kept],
        track=number[tracks.track[kept]],
        keypoints=tracks.keypoints[kept],
        scores=tracks.scores[kept],
        offsets=counts[tracks.offsets],
        of_row=np.where(tracks.of_row < 0, np.int32(-1), number[tracks.of_row]),
    )
