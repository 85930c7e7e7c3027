"""Turns astr's matches.h5 into what hloc's localisation and mapping read. Run as
    python examples/hloc.py matches.h5 FOLDER

FOLDER/features.h5 holds for each image `keypoints` (N, 2) float32, `scores` (N,) float32 and `image_size` (w, h).
FOLDER/matches.h5 holds for each pair `matches0` (N,) int32, the index of the partner in image1 or -1, and
`matching_scores0` (N,) float16. Keypoints come from astr's tracks, one for each image of a track, in pixels of the
original image with the centre of the top-left pixel at (0, 0), as hloc has it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import h5py
import numpy as np

from astr_cli.errors import AstrError
from astr_cli.sfm import MatchRows, Tracks, build_tracks, read_rows
from astr_cli.sfm.graph import pair_matches
from astr_cli.store import MatchesFile


def convert(matches: Path, folder: Path) -> None:
    """Writes both files. Raises AstrError when `matches` is not a file of astr's."""
    with MatchesFile(matches) as file:
        rows = read_rows(file)
    tracks = build_tracks(rows)
    folder.mkdir(parents=True, exist_ok=True)
    if matches.resolve() == (folder / "matches.h5").resolve():
        raise AstrError(f"{matches}: would be overwritten; choose another folder")
    write_features(folder / "features.h5", rows, tracks)
    write_matches(folder / "matches.h5", rows, tracks)


def write_features(path: Path, rows: MatchRows, tracks: Tracks) -> None:
    """One group for each image, by its name."""
    with h5py.File(path, "w") as file:
        for index, frame in enumerate(rows.frames):
            group = file.create_group(frame.name)
            group["keypoints"] = tracks.of_image(index)
            group["scores"] = scores_of(tracks, index)
            group["image_size"] = np.array(frame.size)


def write_matches(path: Path, rows: MatchRows, tracks: Tracks) -> None:
    """One group for each pair; hloc's key: "/" in names becomes "-"."""
    with h5py.File(path, "w") as file:
        for (image0, image1), matches in zip(rows.pairs, pair_matches(tracks, rows), strict=True):
            scores0, scores1 = scores_of(tracks, image0), scores_of(tracks, image1)
            matches0 = np.full(len(scores0), -1, np.int32)
            matching_scores0 = np.zeros(len(scores0), np.float16)
            matches0[matches[:, 0]] = matches[:, 1]
            matching_scores0[matches[:, 0]] = np.minimum(scores0[matches[:, 0]], scores1[matches[:, 1]])
            group = file.create_group("/".join(rows.frames[image].name.replace("/", "-") for image in (image0, image1)))
            group["matches0"] = matches0
            group["matching_scores0"] = matching_scores0


def scores_of(tracks: Tracks, image: int) -> np.ndarray:
    """(N,) float32 scores of one image's keypoints."""
    return tracks.scores[tracks.offsets[image] : tracks.offsets[image + 1]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matches", type=Path, help="written by astr match")
    parser.add_argument("folder", type=Path, help="where features.h5 and matches.h5 go")
    arguments = parser.parse_args()
    try:
        convert(arguments.matches, arguments.folder)
    except AstrError as error:
        sys.exit(f"hloc.py: {error}")
