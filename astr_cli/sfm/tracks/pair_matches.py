"""From tracks to COLMAP's matches: for each image pair, which keypoints are the same point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.tracks.build import Tracks
from astr_cli.sfm.tracks.match_rows import MatchRows, PairRows


class PairLists(Sequence[NDArray[np.uint32]]):
    """(M, 2) keypoint indices for each pair, the two keypoints of every track that was matched between its images.

    Made when asked for, the same each time.
    """

    def __init__(self, tracks: Tracks, pairs: NDArray[np.int32], of_row: NDArray[np.int32]) -> None:
        self._tracks, self._pairs, self._of_row = tracks, pairs, of_row

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, pair: int) -> NDArray[np.uint32]: ...
    @overload
    def __getitem__(self, pair: slice) -> list[NDArray[np.uint32]]: ...
    def __getitem__(self, pair: int | slice) -> NDArray[np.uint32] | list[NDArray[np.uint32]]:
        if isinstance(pair, slice):
            return [self[number] for number in range(*pair.indices(len(self)))]
        if not -len(self) <= pair < len(self):
            raise IndexError(pair)
        return np.column_stack(self._ends(pair % len(self))).astype(np.uint32)

    def counts(self) -> NDArray[np.int64]:
        """(P,) how many matches each pair has."""
        return np.array([len(self._ends(pair)[0]) for pair in range(len(self))], np.int64)

    def _ends(self, pair: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the keypoints in the one and the other image."""
        tracks = self._tracks
        # Both directions of a coarse match, or two rows of stars that were joined, may be one match of keypoints.
        matched = np.unique(self._of_row[tracks.borders[pair] : tracks.borders[pair + 1]])
        known = [tracks.track[tracks.offsets[image] : tracks.offsets[image + 1]] for image in self._pairs[pair]]
        places = [np.searchsorted(track, matched) for track in known]
        whole = np.ones(len(matched), bool)  # all of them, unless thinning took something out of an image
        for track, place in zip(known, places, strict=True):
            whole &= track[np.minimum(place, len(track) - 1)] == matched if len(track) else False
        return places[0][whole], places[1][whole]


def pair_matches(tracks: Tracks, rows: PairRows | MatchRows) -> PairLists:
    """The matches of each pair of `rows`.

    Only matches found in this pair itself, as COLMAP follows tracks through the other images by itself. (All keypoints
    that share a track, matched directly or not: 7 times the matches among 24 images, 12 times as long to verify, 1.6
    times to map; centres no better on simulated scenes.)
    """
    of_row = tracks.of_row[rows.sorted().order] if isinstance(rows, MatchRows) else tracks.of_row
    return PairLists(tracks, rows.pairs, of_row)
