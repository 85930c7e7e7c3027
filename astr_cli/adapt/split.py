"""A model's photos in two parts: those to train on, and pairs with at least one photo that the training never sees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.files import write_whole
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.pairs.reading import format_pair
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.exports.models import write_undistorted
from astr_cli.train.colmap_model import Photo, certain_pairs, load_photos_of_model
from astr_cli.wording import counted

EVERY = 5  # one photo of so many is held back, by name; then about a third of the pairs is
FEWEST = 20  # held-back pairs; with fewer nothing can be decided
MOST = 96  # held-back pairs that are matched; the standard error of AUC@10 is then about 4 points


class Split(NamedTuple):
    """The two parts, on disk."""

    training: Path
    """images/ and sparse/0, without the photos held back."""
    held_back: Path
    """images/, gt.json and pairs.txt, as astr eval reads them; the model's cameras are the truth."""
    photos: int
    """Photos to train on."""
    pairs: int
    """Pairs held back."""


def split_model(model: Path, photos: Path, folder: Path, stop: StopFlag) -> Split:
    """Writes folder/training and folder/held-back. Raises AstrError for a model with too few certain pairs."""
    made, training = folder / "held-back", folder / "training"
    for old in (made, training):
        shutil.rmtree(old, ignore_errors=True)
    write_undistorted(model, photos, _new(made), stop)
    known = load_photos_of_model(made / "sparse" / "0", made / "images")
    names = [photo.file.relative_to(made / "images").as_posix() for photo in known]
    apart = set(names[EVERY // 2 :: EVERY])
    named = dict(zip(map(id, known), names, strict=True))
    pairs = [(named[id(first)], named[id(second)]) for first, second in certain_pairs(known)]
    held_back = [pair for pair in pairs if apart & set(pair)]
    if len(held_back) < FEWEST:
        raise AstrError(
            f"{photos}: {counted(len(held_back), 'pair')} can be held back for the decision, of "
            f"{counted(len(pairs), 'pair')} of {counted(len(names), 'photo')} in the model, but at least {FEWEST} are "
            "needed; use more photos that overlap"
        )
    _write_truth(made, known, names, _thinned(held_back))
    stay = [name for name in names if name not in apart]
    _write_training(made, _new(training), stay)
    return Split(training, made, len(stay), min(len(held_back), MOST))


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _thinned(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    rows = np.linspace(0, len(pairs) - 1, min(MOST, len(pairs))).round().astype(int)
    return [pairs[row] for row in rows]


def _write_truth(folder: Path, photos: Sequence[Photo], names: Sequence[str], pairs: list[tuple[str, str]]) -> None:
    views = {}
    for photo, name in zip(photos, names, strict=True):
        pose = np.linalg.inv(photo.pose)
        views[name] = {
            "K": photo.intrinsics.tolist(),
            "R": pose[:3, :3].tolist(),
            "t": pose[:3, 3].tolist(),  # x = K (R X + t)
            "size": list(photo.size),
        }
    write_whole(folder / "gt.json", json.dumps({"type": "pose", "images": views}, ensure_ascii=False, indent=1))
    write_whole(folder / "pairs.txt", "\n".join(format_pair(*pair) for pair in pairs) + "\n")


def _write_training(source: Path, folder: Path, names: Sequence[str]) -> None:
    """The photos of `names`, and the model without the others."""
    model: Any = read_model(source / "sparse" / "0")
    for image in list(model.images.values()):
        if image.name not in names:
            model.deregister_frame(image.frame_id)
    (folder / "sparse" / "0").mkdir(parents=True)
    model.write(folder / "sparse" / "0")
    for name in names:
        target = folder / "images" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "images" / name, target)
