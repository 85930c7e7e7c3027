"""Sequences of HPatches: photos 1.ppm to 6.ppm, and H_1_2 to H_1_6 with the homographies from the first.

HPatches' homographies take the centre of the top-left pixel as (0, 0).
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from astr_cli.evaluate.benchmark import EvaluateError
from astr_cli.evaluate.homography_folder import HomographyFolder, homography_folder
from astr_cli.evaluate.metrics import Array

SUFFIXES = (".ppm", ".png", ".jpg", ".jpeg", ".webp")


def is_sequence(folder: Path) -> bool:
    """Whether a folder is a sequence of HPatches."""
    return (folder / "H_1_2").is_file()


def read_sequence(folder: Path, name: str) -> HomographyFolder | None:
    """The benchmark of one sequence; None for any other folder. Raises EvaluateError with the file."""
    return read_sequences(folder, [folder], name) if is_sequence(folder) else None


def read_sequences(root: Path, sequences: Sequence[Path], name: str) -> HomographyFolder:
    """All sequences of the folder `root` as one benchmark. Raises EvaluateError with the file."""
    truth = []
    for sequence in sequences:
        files = [path for path in sequence.iterdir() if re.fullmatch(r"H_1_\d+", path.name)]
        for path in sorted(files, key=_number):
            photo0, photo1 = (_photo(sequence, number, path).relative_to(root) for number in (1, _number(path)))
            truth.append((photo0.as_posix(), photo1.as_posix(), _matrix(path)))
    return homography_folder(name, root, root, truth, root)


def _number(path: Path) -> int:
    return int(path.name.rpartition("_")[2])


def _photo(sequence: Path, number: int, source: Path) -> Path:
    found = (sequence / f"{number}{suffix}" for suffix in SUFFIXES)
    photo = next((path for path in found if path.is_file()), None)
    if photo is None:
        raise EvaluateError(f"{source}: its photo {number}{SUFFIXES[0]} is not beside it (nor as {SUFFIXES[1:]})")
    return photo


def _matrix(path: Path) -> Array:
    try:
        return np.array([float(word) for word in path.read_text(encoding="utf-8").split()]).reshape(3, 3)
    except (OSError, ValueError):
        raise EvaluateError(f"{path}: expected 3x3 numbers, from photo 1 to photo {_number(path)}") from None
