"""matches.h5 in the form that other programs need: shared keypoints per image, and pairs of their indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.names import problem_of_names
from astr_cli.sfm.tracks.build import MERGE_RADIUS, build_tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage, read_rows
from astr_cli.sfm.tracks.pair_matches import pair_matches
from astr_cli.store.matches_file import MatchesFile


@dataclass(frozen=True, eq=False)
class Tracked:
    """N images and P pairs of them."""

    images: tuple[MatchedImage, ...]  # by name
    keypoints: tuple[NDArray[np.float32], ...]  # N of (K, 2): ORIGINAL pixels, centre of the top-left pixel at (0, 0)
    scores: tuple[NDArray[np.float32], ...]  # N of (K,)
    pairs: tuple[tuple[int, int], ...]  # P of indices into images
    matches: Sequence[NDArray[np.uint32]]  # P of (M, 2): indices into the keypoints of the two
    images_root: str  # as the matches file has it

    def names(self, pair: tuple[int, int]) -> tuple[str, str]:
        """The names of a pair's two images."""
        return self.images[pair[0]].name, self.images[pair[1]].name


def read_tracked(path: Path, min_score: float = 0.0, merge_radius: float = MERGE_RADIUS) -> Tracked:
    """Reads a file of `astr match` and joins it to tracks: one keypoint per image of a track, shared by all pairs.

    min_score: leave out matches below it. merge_radius: as of `build_tracks`. Raises StoreError for another kind of
    file, AstrError when no match is left or a photo's name is also the folder of another.
    """
    with MatchesFile(path) as file:
        rows = read_rows(file, min_score)
        root = file.attributes.get("images", "")
    problem = problem_of_names(image.name for image in rows.images)
    if problem is not None:
        raise AstrError(f"{path}: {problem}")
    if not len(rows):
        raise AstrError(f"{path}: no match has a score of {min_score:g} or more; match again or lower it")
    tracks = build_tracks(rows, merge_radius)
    count = len(rows.images)
    return Tracked(
        images=rows.images,
        keypoints=tuple(tracks.of_image(image) for image in range(count)),
        scores=tuple(np.split(tracks.scores, tracks.offsets[1:-1])),
        pairs=tuple((int(a), int(b)) for a, b in rows.pairs),
        matches=pair_matches(tracks, rows),
        images_root=root,
    )
