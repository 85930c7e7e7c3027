"""matches.h5 in the form that other programs need: shared keypoints per image, and pairs of their indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.names import problem_of_names
from astr_cli.options.database import JoinOptions
from astr_cli.sfm.tracks.build import build_tracks
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


def read_tracked(path: Path, options: JoinOptions) -> Tracked:
    """Reads a file of `astr match` and joins it to tracks: one keypoint per image of a track, shared by all pairs.

    Raises StoreError for another kind of file, or sigma asked for and unknown; AstrError when no match is left or a
    photo's name is also the folder of another.
    """
    with MatchesFile(path) as file:
        rows = read_rows(file, options.min_score, options.max_sigma)
        root = file.attributes.get("images", "")
    problem = problem_of_names(image.name for image in rows.images)
    if problem is not None:
        raise AstrError(f"{path}: {problem}")
    if not len(rows):
        raise AstrError(f"{path}: no match has {options.bounds}; {options.remedy} or match again")
    tracks = build_tracks(rows, options.merge_radius)
    count = len(rows.images)
    return Tracked(
        images=rows.images,
        keypoints=tuple(tracks.of_image(image) for image in range(count)),
        scores=tuple(np.split(tracks.scores, tracks.offsets[1:-1])),
        pairs=tuple((int(a), int(b)) for a, b in rows.pairs),
        matches=pair_matches(tracks, rows),
        images_root=root,
    )
