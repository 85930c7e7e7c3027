"""Masks by COLMAP's naming: nothing is matched where they are zero, on either side, and they are part of the run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from astr_cli.images.errors import ImageError
from astr_cli.images.info import read_info
from astr_cli.matching.photos.geometry import photo_geometry
from astr_cli.matching.photos.loader import load_mask
from astr_cli.matching.run.match import match_pairs
from astr_cli.store.matches_file import MatchesFile


def write_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


@pytest.fixture
def mask() -> np.ndarray:
    """All of a photo of 160 x 128 but its left third and a strip."""
    mask = np.ones((128, 160), bool)
    mask[:, :53] = False
    mask[70:75] = False
    return mask


def test_no_point_lies_where_the_mask_is_zero(scene, mask: np.ndarray) -> None:
    write_mask(scene.root / "masks" / f"{scene.names[0]}.png", mask)
    write_mask(scene.root / "masks" / f"{Path(scene.names[1]).stem}.png", mask[::-1])
    match_pairs(scene.options("plain.h5"))
    match_pairs(scene.options(masks=scene.root / "masks"))
    masks = {scene.names[0]: mask, scene.names[1]: mask[::-1]}
    rows = kept = outside = 0
    with MatchesFile(scene.root / "m.h5") as file, MatchesFile(scene.root / "plain.h5") as plain:
        for names in scene.pairs:
            found, before = file.read(*names), plain.read(*names)
            rows, kept = rows + len(before), kept + len(found)
            for name, points, unmasked in (
                (names[0], found.keypoints0, before.keypoints0),
                (names[1], found.keypoints1, before.keypoints1),
            ):
                if name in masks:
                    assert inside(masks[name], points).all()
                    outside += (~inside(masks[name], unmasked)).sum()
    assert rows >= 200
    assert 0 < kept < rows
    assert outside > 20


def inside(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = np.rint(points).astype(int).T
    return mask[np.clip(y, 0, 127), np.clip(x, 0, 159)]


def test_masks_lie_on_the_raw_grid_of_turned_photos(scene, mask: np.ndarray) -> None:
    photo = Image.open(scene.root / scene.names[0])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo.save(scene.root / scene.names[0], exif=exif)
    write_mask(scene.root / "masks" / f"{scene.names[0]}.png", mask)
    match_pairs(scene.options(masks=scene.root / "masks"))
    with MatchesFile(scene.root / "m.h5") as file:
        found = [file.read(*names).keypoints0 for names in scene.pairs if names[0] == scene.names[0]]
    points = np.concatenate(found)
    assert len(points) > 20
    assert inside(mask, points).all()


@pytest.mark.parametrize("code", range(1, 9))
def test_the_model_sees_the_mask_upright(scene, mask: np.ndarray, code: int) -> None:
    path = scene.root / "masks" / "photo.png"
    write_mask(path, mask)
    info = replace(read_info(scene.root, scene.names[0]), orientation=code)
    view = photo_geometry(info.size, 96, None, code)
    seen, packed = load_mask(info, path, view)
    assert seen.shape == view.matched[::-1]
    x, y = np.meshgrid(np.arange(3, view.matched[0], 7), np.arange(3, view.matched[1], 7))
    working = np.stack([x.ravel(), y.ravel()], axis=1)
    raw = view.to_raw(working.astype(np.float32))
    # Away from the mask's borders, where shrinking decides.
    sure = [inside(mask, raw + shift) for shift in np.array([[-2, -2], [-2, 2], [2, -2], [2, 2]])]
    for wanted in (True, False):
        chosen = np.all([same == wanted for same in sure], axis=0)
        assert chosen.sum() > 5
        assert (seen[working[chosen, 1], working[chosen, 0]] == wanted).all()
    assert np.array_equal(packed.passes(raw), inside(mask, raw))


def test_a_white_mask_changes_nothing_to_speak_of(scene) -> None:
    write_mask(scene.root / "masks" / f"{scene.names[0]}.png", np.ones((128, 160), bool))
    match_pairs(scene.options("plain.h5"))
    match_pairs(scene.options(masks=scene.root / "masks"))
    with MatchesFile(scene.root / "m.h5") as file, MatchesFile(scene.root / "plain.h5") as plain:
        for names in scene.pairs:
            found, before = file.read(*names), plain.read(*names)
            assert len(found) == len(before) > 0
            np.testing.assert_allclose(np.sort(found.scores), np.sort(before.scores), atol=1e-4)


def test_a_changed_mask_redoes_its_pairs(scene, mask: np.ndarray) -> None:
    path = scene.root / "masks" / f"{scene.names[0]}.png"
    write_mask(path, mask)
    match_pairs(scene.options(masks=scene.root / "masks"))
    write_mask(path, mask)  # the same again
    assert match_pairs(scene.options(masks=scene.root / "masks")).matched == 0
    write_mask(path, ~mask)
    summary = match_pairs(scene.options(masks=scene.root / "masks"))
    assert (summary.matched, summary.reused) == (5, 10)


def test_a_mask_taken_away_redoes_its_pairs(scene, mask: np.ndarray) -> None:
    masks = scene.options(masks=scene.root / "masks")
    for name in scene.names[:5]:
        write_mask(scene.root / "masks" / f"{name}.png", mask)
    match_pairs(masks)
    assert match_pairs(masks).matched == 0
    (scene.root / "masks" / f"{scene.names[0]}.png").unlink()
    summary = match_pairs(masks)
    assert (summary.matched, summary.reused) == (5, 10)


def test_what_is_refused(scene, mask: np.ndarray) -> None:
    with pytest.raises(ImageError, match="nowhere: no such folder"):
        match_pairs(scene.options(masks=scene.root / "nowhere"))
    (scene.root / "masks").mkdir()
    with pytest.raises(ImageError, match=r"holds no mask for any photo; name the mask of .*\.png .*\.png\.png"):
        match_pairs(scene.options(masks=scene.root / "masks"))
    write_mask(scene.root / "masks" / f"{scene.names[0]}.png", mask[:, :100])
    failed = match_pairs(scene.options(masks=scene.root / "masks")).failed
    assert len(failed) == 5
    assert "is 100x128, but the stored pixels" in failed[0].reason
