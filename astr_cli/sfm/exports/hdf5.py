"""HDF5 for hloc, and for the pipelines of the Image Matching Challenge (kornia, Kaggle).

Both count pixels as astr does, the centre of the top-left one at (0, 0).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from astr_cli.pairs.reading import pair_key
from astr_cli.pairs.writing import pairs_text
from astr_cli.sfm.exports.shared_keypoints import Tracked
from astr_cli.store.shield import ShieldedFile


def write_hloc(tracked: Tracked, folder: Path) -> None:
    """features.h5: one group per image with `keypoints`, `scores` and `image_size` (w, h). matches.h5: one group per
    pair with `matches0` (K,) int32, the index of the partner in image1 or -1, for ALL keypoints of image0, and
    `matching_scores0` (K,) float16. pairs.txt: the pairs.
    """
    with _new_file(folder / "features.h5") as file:
        for matched, keypoints, scores in zip(tracked.images, tracked.keypoints, tracked.scores, strict=True):
            group = file.create_group(matched.name)
            _write(group, "keypoints", keypoints)
            _write(group, "scores", scores)
            _write(group, "image_size", np.array(matched.size, np.int32))
    with _new_file(folder / "matches.h5") as file:
        for pair, matches in zip(tracked.pairs, tracked.matches, strict=True):
            scores0, scores1 = tracked.scores[pair[0]], tracked.scores[pair[1]]
            matches0 = np.full(len(scores0), -1, np.int32)
            matching_scores0 = np.zeros(len(scores0), np.float16)
            matches0[matches[:, 0]] = matches[:, 1]
            matching_scores0[matches[:, 0]] = np.minimum(scores0[matches[:, 0]], scores1[matches[:, 1]])
            group = file.create_group(pair_key(*tracked.names(pair)))
            _write(group, "matches0", matches0)
            _write(group, "matching_scores0", matching_scores0)
    text = pairs_text(tracked.names(pair) for pair in tracked.pairs)
    (folder / "pairs.txt").write_text(text, encoding="utf-8", newline="\n")


def write_imc(tracked: Tracked, folder: Path) -> None:
    """keypoints.h5: a dataset (K, 2) float32 for each image. matches.h5: for each pair the dataset NAME0/NAME1, (M, 2)
    int32 keypoint indices.
    """
    with _new_file(folder / "keypoints.h5") as file:
        for matched, keypoints in zip(tracked.images, tracked.keypoints, strict=True):
            _write(file, matched.name, keypoints)
    with _new_file(folder / "matches.h5") as file:
        for pair, matches in zip(tracked.pairs, tracked.matches, strict=True):
            name0, name1 = tracked.names(pair)
            _write(file.require_group(name0), name1, matches.astype(np.int32))


@contextmanager
def _new_file(path: Path) -> Iterator[h5py.File]:
    """A file that survives a full disk: HDF5 itself would crash the process (store/shield.py). Raises OSError."""
    with ShieldedFile(path) as raw:
        with h5py.File(raw, "w") as file:
            yield file
        if raw.error is not None:
            raise raw.error
        os.fsync(raw.fileno())


def _write(group: h5py.Group, name: str, array: NDArray[np.generic]) -> None:
    group.create_dataset(name, data=array, track_times=False)
