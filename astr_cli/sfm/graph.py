"""From tracks to what COLMAP verifies: for each image pair, which keypoints are the same point."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.tracks import Tracks

BLOCK = 4_000_000  # keypoint pairs handled at once, which bounds the memory of a step


def pair_matches(tracks: Tracks, pairs: NDArray[np.int32]) -> list[NDArray[np.uint32]]:
    """(M, 2) keypoint indices for each of the P pairs (image0, image1): every track that both images see.

    That is more than what was matched between the two directly: when cell A of a third image was found in both, the
    two keypoints match as well. Pairs that are not listed get nothing.
    """
    images = len(tracks.offsets) - 1
    keys = np.minimum(pairs[:, 0], pairs[:, 1]).astype(np.int64) * images + np.maximum(pairs[:, 0], pairs[:, 1])
    order = np.argsort(keys, kind="stable")
    found = [_listed(block, keys[order], images) for block in _blocks(tracks)]
    slot, first, second = (np.concatenate(column) for column in zip(*found, strict=True)) if found else _nothing()
    by_pair = np.lexsort((second, first, slot))
    matches = np.stack([first[by_pair], second[by_pair]], 1).astype(np.uint32)
    edges = np.searchsorted(slot[by_pair], np.arange(len(pairs) + 1))
    result = [matches[:0]] * len(pairs)
    for place, number in enumerate(order):
        part = matches[edges[place] : edges[place + 1]]
        result[number] = part if pairs[number, 0] < pairs[number, 1] else part[:, ::-1].copy()
    return result


def _blocks(tracks: Tracks) -> Iterator[tuple[NDArray[np.int64], ...]]:
    """(image a, image b, keypoint of a, keypoint of b) with a < b, for every two keypoints of a track."""
    order = np.lexsort((tracks.image, tracks.track))
    track, image = tracks.track[order], tracks.image[order].astype(np.int64)
    keypoint = order - tracks.offsets[image]
    for step in range(1, int(tracks.lengths.max(initial=1))):
        rows = np.flatnonzero(track[step:] == track[:-step])
        for begin in range(0, len(rows), BLOCK):
            part = rows[begin : begin + BLOCK]
            yield image[part], image[part + step], keypoint[part], keypoint[part + step]


def _listed(
    block: tuple[NDArray[np.int64], ...], keys: NDArray[np.int64], images: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The keypoint pairs whose image pair is among the sorted `keys`, with the place of it there."""
    key = block[0] * images + block[1]
    place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    kept = keys[place] == key
    return place[kept], block[2][kept], block[3][kept]


def _nothing() -> tuple[NDArray[np.int64], ...]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
