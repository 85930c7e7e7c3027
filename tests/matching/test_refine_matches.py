"""`--refine-matches` with the shipped weights: exactness, fixed ends, masks, turned photos, resume, the Python API."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from astr_cli.matching.matcher import Matcher
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.matching import MatchOptions
from astr_cli.scenes.textures import procedural_textures
from astr_cli.sfm.tracks.match_rows import read_rows
from astr_cli.store.errors import StoreError
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches

SHIFT = np.array([22.0, 13.0])
SIZE = (640, 480)
PAIRS = ("b.png", "turned.jpg")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of 640 x 480, some pixels apart and of other exposure; the third is stored turned, and says so."""
    folder = tmp_path_factory.mktemp("large")
    pixels = (procedural_textures(1, (504, 672), torch.Generator().manual_seed(5))[0, 0] * 255).byte().numpy()
    darker = np.rint(20 + 0.7 * pixels[13:493, 22:662]).astype(np.uint8)
    Image.fromarray(pixels[:480, :640]).save(folder / "a.png")
    Image.fromarray(darker).save(folder / "b.png")
    tag = Image.Exif()
    tag[274] = 6  # to be shown turned clockwise
    Image.fromarray(np.ascontiguousarray(np.rot90(darker))).save(folder / "turned.jpg", quality=98, exif=tag)
    mask = np.full((480, 640), 255, np.uint8)
    mask[:, :204] = 0
    (folder / "masks").mkdir()
    Image.fromarray(mask).save(folder / "masks" / "b.png.png")
    (folder / "pairs.txt").write_text("".join(f"a.png {name}\n" for name in PAIRS))
    return folder


def options(photos: Path, name: str, **changes: object) -> MatchOptions:
    given: dict[str, object] = {"long_side": 256, "device": "cpu", **changes}
    return MatchOptions(pairs=photos / "pairs.txt", out=photos / f"{name}.h5", images=photos, **given)


def matched(photos: Path, name: str, **changes: object) -> dict[str, PairMatches]:
    given = options(photos, name, **changes)
    match_pairs(given)
    with MatchesFile(given.out) as file:
        return {second: file.read("a.png", second) for second in PAIRS}


@pytest.fixture(scope="module")
def both(photos: Path) -> tuple[dict[str, PairMatches], dict[str, PairMatches]]:
    return matched(photos, "plain"), matched(photos, "refined", refine_matches=True)


def errors(name: str, found: PairMatches) -> np.ndarray:
    points = found.keypoints1.astype(np.float64)
    if name == "turned.jpg":
        points = np.stack([SIZE[0] - 1 - points[:, 1], points[:, 0]], axis=1)
    return np.asarray(np.linalg.norm(points + SHIFT - found.keypoints0, axis=1))


@pytest.mark.parametrize("name", PAIRS)
def test_moving_ends_are_exact_and_fixed_ends_stay(name: str, both: tuple[dict[str, PairMatches], ...]) -> None:
    plain, refined = (each[name] for each in both)
    assert plain.sigma is None and refined.sigma is not None
    np.testing.assert_array_equal(plain.scores, refined.scores)
    np.testing.assert_array_equal(plain.reference, refined.reference)
    for side in (0, 1):
        kept = refined.reference == side
        before, after = (getattr(each, f"keypoints{side}")[kept] for each in (plain, refined))
        np.testing.assert_array_equal(before, after)
    known = np.isfinite(refined.sigma)
    assert known.mean() > 0.8
    left = ~known
    np.testing.assert_array_equal(plain.keypoints0[left], refined.keypoints0[left])
    np.testing.assert_array_equal(plain.keypoints1[left], refined.keypoints1[left])
    assert np.median(errors(name, refined)[known]) < 0.1 * np.median(errors(name, plain)[known])
    # sigma is of the size of the error, not only small; 2 sigma hold nearly all.
    assert (errors(name, refined)[known] < 4 * refined.sigma[known] + 0.02).mean() > 0.9


def test_rows_under_a_mask_are_left(photos: Path, both: tuple[dict[str, PairMatches], ...]) -> None:
    found = matched(photos, "masked", refine_matches=True, masks=photos / "masks")["b.png"]
    assert found.sigma is not None and (found.keypoints1[:, 0] > 203).all()
    near = found.keypoints1[:, 0] < 212  # half a patch reaches under the mask
    assert near.any() and np.isnan(found.sigma[near]).all()


def test_the_option_decides_the_result_and_the_file_is_the_same_after_a_stop(photos: Path) -> None:
    with pytest.raises(StoreError, match="refine_matches"):
        match_pairs(options(photos, "plain", refine_matches=True))
    whole = options(photos, "refined", refine_matches=True).out.read_bytes()
    short = photos / "short.txt"
    short.write_text(f"a.png {PAIRS[0]}\n")
    begun = options(photos, "again", refine_matches=True)
    match_pairs(replace(begun, pairs=short))
    match_pairs(begun)
    assert begun.out.read_bytes() == whole


def test_the_python_api_gives_the_same(photos: Path, both: tuple[dict[str, PairMatches], ...]) -> None:
    matcher = Matcher.load(device="cpu", long_side=256, refine_matches=True)
    for name in PAIRS:
        found, stored = matcher.match(photos / "a.png", photos / name), both[1][name]
        np.testing.assert_array_equal(found.keypoints1, stored.keypoints1)
        np.testing.assert_array_equal(found.keypoints0, stored.keypoints0)
        np.testing.assert_array_equal(found.sigma, stored.sigma)


def test_max_sigma_leaves_out_what_is_less_certain(photos: Path, both: tuple[dict[str, PairMatches], ...]) -> None:
    with MatchesFile(photos / "refined.h5") as file:
        rows = read_rows(file, max_sigma=0.05)
    sigmas = [found.sigma for found in both[1].values() if found.sigma is not None]
    expected = sum(int((sigma <= 0.05).sum()) for sigma in sigmas)
    assert 0 < len(rows) == expected < sum(map(len, sigmas))
    with MatchesFile(photos / "plain.h5") as file, pytest.raises(StoreError, match="--refine-matches"):
        read_rows(file, max_sigma=0.05)
