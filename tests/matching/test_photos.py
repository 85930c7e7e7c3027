"""Real photos with a surveyed truth: full-size tiles are finer, and turned photos match as upright ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astr_cli.matching.run.match import match_pairs
from astr_cli.options.matching import MatchOptions
from astr_cli.resources import shipped_weights
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches

SCENE = Path(__file__).parents[3] / "shared" / "data" / "scenes" / "fountain-P11"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("astr-small" not in shipped_weights(), reason="weights/astr-small.safetensors is not there"),
    pytest.mark.skipif(not SCENE.is_dir(), reason="../shared/data is not here"),
]


def symmetric_epipolar_errors(name0: str, name1: str, points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    """Distance of each point from the other's true epipolar line, mean of both sides, in original pixels."""
    cameras = json.loads((SCENE / "gt.json").read_text())["images"]
    (k0, r0, t0), (k1, r1, t1) = ([np.array(cameras[name][key]) for key in "KRt"] for name in (name0, name1))
    rotation = r1 @ r0.T
    x, y, z = t1 - rotation @ t0
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    fundamental = np.linalg.inv(k1).T @ essential @ np.linalg.inv(k0)
    rays0, rays1 = (np.column_stack([p.astype(float), np.ones(len(p))]) for p in (points0, points1))
    line1, line0 = rays0 @ fundamental.T, rays1 @ fundamental
    residual = np.abs((rays1 * line1).sum(axis=1))
    return (residual / np.linalg.norm(line1[:, :2], axis=1) + residual / np.linalg.norm(line0[:, :2], axis=1)) / 2


def matched(folder: Path, out: str, images: Path, **changes: object) -> list[PairMatches]:
    options = MatchOptions(
        pairs=folder / "pairs.txt", out=folder / out, images=images, long_side=640, device="cpu", **changes
    )
    match_pairs(options)
    with MatchesFile(options.out) as file:
        return [file.read(pair.name0, pair.name1) for pair in file.pairs()]


def test_full_size_lowers_the_epipolar_error(tmp_path: Path) -> None:
    pairs = [("0002.jpg", "0003.jpg"), ("0006.jpg", "0008.jpg")]
    (tmp_path / "pairs.txt").write_text("".join(f"{name0} {name1}\n" for name0, name1 in pairs))
    medians = []
    for tiles in (False, True):
        found = matched(tmp_path, f"{tiles}.h5", SCENE / "images", tiles=tiles, cameras="none")
        assert min(map(len, found)) >= 200
        errors = [
            symmetric_epipolar_errors(*names, each.keypoints0, each.keypoints1)
            for names, each in zip(pairs, found, strict=True)
        ]
        medians.append(np.median(np.concatenate(errors)))
    assert medians[1] <= medians[0] / 1.6


def test_turned_photos_match_as_upright_ones(tmp_path: Path) -> None:
    second = np.asarray(Image.open(SCENE / "images" / "0005.jpg"))
    height, width = second.shape[:2]
    Image.open(SCENE / "images" / "0003.jpg").save(tmp_path / "first.png")
    for quarters in range(4):
        Image.fromarray(np.ascontiguousarray(np.rot90(second, quarters))).save(tmp_path / f"{quarters}.png")
    (tmp_path / "pairs.txt").write_text("".join(f"first.png {quarters}.png\n" for quarters in range(4)))
    found = matched(tmp_path, "m.h5", tmp_path, rotate="auto")
    medians = []
    for quarters, each in enumerate(found):
        x, y = each.keypoints1.T
        upright = {0: (x, y), 1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}
        points1 = np.stack(upright[quarters], axis=1)
        medians.append(np.median(symmetric_epipolar_errors("0003.jpg", "0005.jpg", each.keypoints0, points1)))
    assert len(found[0]) >= 200
    for each, median in zip(found[1:], medians[1:], strict=True):
        assert len(each) >= 0.95 * len(found[0])
        assert median <= 1.05 * medians[0]
