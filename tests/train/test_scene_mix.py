"""Which scenes a batch is made of, and the sheets that show them."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from astr_cli.errors import AstrError
from astr_cli.scenes.textures import procedural_textures
from astr_cli.train.contact_sheet import write_contact_sheets
from astr_cli.train.photos import PhotoSet
from astr_cli.train.scene_mix import (
    MANY_PHOTOS,
    ONE_PHOTO,
    SUBPIXEL,
    RecordingFolders,
    SceneMix,
    SceneShares,
    kind_of,
    mixed_scene,
)
from astr_cli.train.supervision import supervise

CPU = torch.device("cpu")
KINDS = [*ONE_PHOTO, *MANY_PHOTOS]
NONE = SceneShares(planes=0, relief=0, rooms=0, facades=0, rgbd=0)


@pytest.fixture(scope="module")
def photos() -> PhotoSet:
    textures = procedural_textures(6, (120, 150), torch.Generator().manual_seed(5))
    return PhotoSet(tuple((t[0].numpy() * 255).astype(np.uint8) for t in textures))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_supervised_batches_drawn_from_the_generator_alone(photos: PhotoSet, kind: str) -> None:
    mix = SceneMix(batch=2, side=96, shares=dataclasses.replace(NONE, **{kind: 1.0}), difficulty=0.5)
    torch.manual_seed(1)
    first = mixed_scene(photos, None, mix, torch.Generator().manual_seed(3), CPU)
    torch.manual_seed(2)  # the global generator plays no part
    second = mixed_scene(photos, None, mix, torch.Generator().manual_seed(3), CPU)
    assert first.kind == second.kind == kind
    assert kind in SUBPIXEL
    for a, b in zip(first.scene, second.scene, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    assert first.scene.image0.shape == (2, 1, 96, 96) and first.scene.depth1.shape == (2, 96, 96)
    assert len(supervise(first.scene).batch) > 40


def test_kinds_come_as_often_as_their_shares_say() -> None:
    shares = SceneShares(planes=1, relief=0, rooms=2, facades=3, rgbd=4, megadepth=0, model=0)
    draws = torch.rand(4000, generator=torch.Generator().manual_seed(0)).tolist()
    with_rgbd = [kind_of(draw, shares, ["rgbd"]) for draw in draws]
    without = [kind_of(draw, shares) for draw in draws]
    for name, weight in vars(shares).items():
        assert with_rgbd.count(name) / len(draws) == pytest.approx(weight / 10, abs=0.03)
        expected = 0 if name == "rgbd" else weight / 6
        assert without.count(name) / len(draws) == pytest.approx(expected, abs=0.03)
    assert kind_of(np.nextafter(1.0, 0.0), dataclasses.replace(NONE, relief=0.1, facades=0.2)) == "facades"


@pytest.mark.parametrize("shares", [NONE, SceneShares(planes=-0.1), dataclasses.replace(NONE, rgbd=1.0)])
def test_impossible_shares_are_refused(photos: PhotoSet, shares: SceneShares) -> None:
    with pytest.raises(AstrError, match="one of them must be positive"):
        mixed_scene(photos, None, SceneMix(2, 96, shares), torch.Generator().manual_seed(0), CPU)


def test_contact_sheets_show_every_kind(photos: PhotoSet, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, photo in enumerate(photos.photos):
        cv2.imwrite(str(folder / f"p{index}.png"), photo)
    said: list[str] = []
    write_contact_sheets(folder, tmp_path / "sheets", RecordingFolders(), said.append)
    assert [Path(line).stem for line in said] == KINDS
    for line in said:
        sheet = cv2.imread(line)
        assert sheet is not None and sheet.shape[0] > 1000 and sheet.std() > 20
    with pytest.raises(AstrError, match="--contact-sheet"):
        write_contact_sheets(folder, folder / "p0.png", RecordingFolders(), said.append)
