"""Photos held back never reach the training, and their pairs carry the model's cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from astr_cli.adapt.adapt import keep_run
from astr_cli.adapt.split import EVERY, split_model
from astr_cli.errors import AstrError
from astr_cli.evaluate.readers.gt_json import read_pose_folder
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.train.checkpoint import CHECKPOINT
from astr_cli.train.colmap_model import load_models

from .model_folder import FOCAL, Plane, plane, write_model


def wide(photos: int) -> Plane:
    """A row of cameras before the plane."""
    positions = np.array([[x, 0.1 * x, -2.5] for x in np.linspace(-0.8, 0.8, photos)])
    return plane()._replace(positions=positions)


def test_no_photo_held_back_is_trained_on(tmp_path: Path) -> None:
    scene = wide(12)
    write_model(tmp_path / "wall", scene)
    model, photos = tmp_path / "wall" / "sparse" / "0", tmp_path / "wall" / "images"
    split = split_model(model, photos, tmp_path / "work", StopFlag())
    apart = {f"{view}.png" for view in range(12)} - {path.name for path in (split.training / "images").iterdir()}
    names = sorted(f"{view}.png" for view in range(12))
    assert apart == set(names[EVERY // 2 :: EVERY]) and split.photos == 12 - len(apart)
    trained = load_models(split.training)
    assert {photo.file.name for pair in trained.pairs for photo in pair} == set(names) - apart
    truth = read_pose_folder(split.held_back)
    assert len(truth.pairs) == split.pairs >= 20
    assert all(apart & {pair.name0, pair.name1} for pair in truth.pairs)
    for name, view in truth.views.items():
        np.testing.assert_allclose(view.translation, -scene.positions[int(name.split(".")[0])], atol=1e-9)
        assert view.intrinsics[0, 0] == FOCAL
    again = split_model(model, photos, tmp_path / "work", StopFlag())  # over what is there
    assert again == split


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "wall", wide(6))
    with pytest.raises(AstrError, match="but at least 20 are needed; use more photos that overlap"):
        split_model(tmp_path / "wall" / "sparse" / "0", tmp_path / "wall" / "images", tmp_path / "work", StopFlag())


def test_a_training_goes_on_from_its_checkpoint_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    keep_run(tmp_path, "key")
    run.mkdir()
    (run / "log.csv").touch()  # killed before the first checkpoint
    keep_run(tmp_path, "key")
    assert not run.exists()
    run.mkdir()
    (run / CHECKPOINT).touch()
    keep_run(tmp_path, "key")
    assert run.exists()
    keep_run(tmp_path, "other")
    assert not run.exists()
