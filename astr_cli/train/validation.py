"""Validation during a run: fixed rendered pairs with photos and seeds that training never uses."""

import csv
import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from astr_cli.evaluate.metrics import (
    Array,
    RelativePose,
    normalise,
    pose_auc,
    pose_error,
    precision,
    symmetric_epipolar_errors,
)
from astr_cli.evaluate.pose import estimate_pose
from astr_cli.files import APPEND, open_own
from astr_cli.model.astr import Astr
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.photometric import photometric
from astr_cli.scenes.relief import render_relief
from astr_cli.train.photos import PhotoSet

PAIRS = 24
SIDE = 256
SEED = 987_654_321  # far from any training seed
DIFFICULTY = 0.7
FILE = "validation.csv"


class Validation(NamedTuple):
    """The figures of the model on the validation pairs."""

    auc5: float  # pose AUC with RANSAC
    auc10: float
    auc20: float
    precision: float  # share of matches with a symmetric squared epipolar distance below 1e-4
    matches: float  # per pair

    def text(self) -> str:
        """One line."""
        return (
            f"pose AUC at 5, 10, 20 degrees {self.auc5:.3f}, {self.auc10:.3f}, {self.auc20:.3f}; "
            f"precision {self.precision:.1%}; {self.matches:.0f} matches per pair"
        )


@torch.inference_mode()
def validate(model: Astr, photos: PhotoSet, device: torch.device) -> Validation:
    """Match the fixed pairs, one at a time, with the settings of `astr match`."""
    errors, shares, counts = [], [], []
    for index in range(PAIRS):
        scene = validation_pair(photos, index)
        images = [image.to(device) for image in (scene.image0, scene.image1)]
        known = (scene.intrinsics0.double().to(device), scene.intrinsics1.double().to(device))
        (matches,) = model.match(model.extract(images[0]), model.extract(images[1]), *known)
        k0, k1 = (k[0].double().numpy() for k in (scene.intrinsics0, scene.intrinsics1))
        points0, points1 = normalise(_array(matches.keypoints0), k0), normalise(_array(matches.keypoints1), k1)
        pose = scene.pose[0].double().numpy()
        truth = RelativePose(pose[:3, :3], pose[:3, 3])
        focal = float((k0[0, 0] + k0[1, 1] + k1[0, 0] + k1[1, 1]) / 4)
        errors.append(pose_error(estimate_pose(points0, points1, focal, "ransac"), truth).largest)
        shares.append(precision(symmetric_epipolar_errors(points0, points1, truth)))
        counts.append(len(points0))
    auc5, auc10, auc20 = pose_auc(errors)
    return Validation(auc5, auc10, auc20, sum(shares) / PAIRS, sum(counts) / PAIRS)


def validation_pair(photos: PhotoSet, index: int) -> ScenePair:
    """Pair `index`, the same in every run: two views of a relief with separate photometric changes."""
    generator = torch.Generator().manual_seed(SEED + index)
    texture = photos.crops(1, 2 * SIDE, generator)
    scene = render_relief(texture, (SIDE, SIDE), generator, DIFFICULTY)
    return scene._replace(
        image0=photometric(scene.image0, generator, DIFFICULTY), image1=photometric(scene.image1, generator, DIFFICULTY)
    )


def append_validation(folder: Path, step: int, found: Validation) -> None:
    """Add a row to folder/validation.csv."""
    path = folder / FILE
    new = not path.exists()
    with os.fdopen(open_own(path, APPEND), "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", *Validation._fields])
        writer.writerow([step, *(f"{value:.4f}" for value in found)])


def _array(points: Tensor) -> Array:
    return points.cpu().double().numpy()
