"""From tracks to what COLMAP verifies: for each image pair, which keypoints are the same point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.rows import MatchRows
from astr_cli.sfm.tracks import Tracks


def pair_matches(tracks: Tracks, rows: MatchRows) -> list[NDArray[np.uint32]]:
    """(M, 2) keypoint indices for each pair of `rows`: the two keypoints of every track matched between its images.

    Only what was matched in this very pair, as COLMAP follows tracks through the other images by itself. (All keypoints
    that share a track, matched directly or not: 7 times the matches among 24 images, 12 times as long to verify, 1.6
    times to map; centres no better on simulated scenes.)
    """
    images = np.int64(len(tracks.offsets) - 1)
    # Both directions of a coarse match, or two rows of stars that were joined, may be one match of keypoints.
    edges = np.unique(rows.pair.astype(np.int64) * len(tracks.lengths) + tracks.of_row)
    pair, track = np.divmod(edges, len(tracks.lengths))
    known = np.argsort(tracks.track * images + tracks.image)
    keys = (tracks.track * images + tracks.image)[known]
    ends = rows.pairs[pair].astype(np.int64)
    keypoints = known[np.searchsorted(keys, track[:, None] * images + ends)] - tracks.offsets[ends]
    borders = np.searchsorted(pair, np.arange(1, len(rows.pairs)))
    return np.split(keypoints.astype(np.uint32), borders)
