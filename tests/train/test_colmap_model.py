"""COLMAP models as training pairs: labels beside the exact geometry of a tilted plane, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from astr_cli.errors import AstrError
from astr_cli.train.colmap_model import certain_pairs, load_models, load_photos_of_model, spread
from astr_cli.train.scene_mix import SUBPIXEL
from astr_cli.train.supervision import centres, supervise

from .model_folder import plane, write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    write_model(made / "wall", plane())
    return made


def test_points_have_their_depth_where_the_photo_shows_them(folder: Path) -> None:
    photos = load_photos_of_model(folder / "wall" / "sparse" / "0", folder / "wall" / "images")
    scene = plane()
    for view, photo in enumerate(photos):
        points = scene.points[photo.numbers - 1]
        np.testing.assert_allclose(photo.places, scene.project(view)[photo.numbers - 1], atol=1e-6)
        np.testing.assert_allclose(photo.depths, points[:, 2] - scene.positions[view, 2], atol=1e-9)
        depth = spread(photo)
        columns, rows = np.rint(photo.places).astype(int).T
        assert np.abs(depth[rows, columns] / photo.depths - 1).max() < 0.01
        assert 0.3 < (depth > 0).mean() < 1
    assert len(certain_pairs(photos)) == 3


def test_labels_are_right_to_a_fraction_of_a_cell(folder: Path) -> None:
    """The truth of a tilted plane: depth is a linear function of the pixel's ray."""
    scene = load_models(folder).batch(6, 192, torch.Generator().manual_seed(2))
    truth = supervise(scene)
    assert len(truth.batch) > 200
    points = centres(truth.cells0, 24).double()
    rays = torch.linalg.solve(scene.intrinsics0.double()[truth.batch], _homogeneous(points)[..., None])[..., 0]
    placed = truth.offsets1.double() + centres(truth.cells1, 24)
    # The plane in camera 0: n . X = 1, fitted to its own points of known depth, so the truth is exact but for the fit.
    errors = []
    for pair in range(6):
        own = truth.batch == pair
        depth = scene.depth0[pair].double()
        rows, columns = (depth > 0).nonzero(as_tuple=True)
        pixels = torch.stack([columns, rows], dim=1).double()
        seen = (
            torch.linalg.solve(scene.intrinsics0[pair].double(), _homogeneous(pixels).T).T * depth[rows, columns, None]
        )
        normal = torch.linalg.lstsq(seen, torch.ones(len(seen), 1, dtype=torch.float64)).solution
        world = rays[own] / (rays[own] @ normal)
        pose = scene.pose[pair].double()
        there = (world @ pose[:3, :3].T + pose[:3, 3]) @ scene.intrinsics1[pair].double().T
        errors.append((there[:, :2] / there[:, 2:] - placed[own]).norm(dim=1))
    apart = torch.cat(errors)
    assert apart.median() < 0.4 and apart.quantile(0.99) < 2.0  # pixels; a cell has 8
    assert "model" not in SUBPIXEL


def test_models_that_cannot_be_used_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AstrError, match="contains no folder with images/ and sparse/"):
        load_models(tmp_path)
    write_model(tmp_path / "bent", plane(), "SIMPLE_RADIAL")
    with pytest.raises(AstrError, match=r"with distortion .SIMPLE_RADIAL.; make it with astr export"):
        load_models(tmp_path / "bent")
    few = plane()._replace(points=plane().points[:14])
    write_model(tmp_path / "few", few)
    with pytest.raises(AstrError, match="no two photos share 15 certain points"):
        load_models(tmp_path / "few")
    (folder / "wall" / "images" / "1.png").rename(folder / "wall" / "images" / "gone.png")
    with pytest.raises(AstrError, match="no such photo, but the model has it"):
        load_models(folder)


def _homogeneous(points: torch.Tensor) -> torch.Tensor:
    return torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
