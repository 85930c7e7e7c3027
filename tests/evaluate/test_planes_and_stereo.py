"""Homography and disparity benchmarks from files to figures, on photos made for the test and on real ones."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from astr_cli.errors import AstrError
from astr_cli.evaluate.benchmark import EvaluateError, PairOutcome
from astr_cli.evaluate.disparity_folder import DisparityFolder
from astr_cli.evaluate.homography import corners, warp
from astr_cli.evaluate.homography_folder import HomographyFolder
from astr_cli.evaluate.readers.find import find_benchmarks
from astr_cli.evaluate.run import evaluate
from astr_cli.evaluate.sift import SiftMatcher
from astr_cli.images.geometry import to_original
from astr_cli.options.evaluate import EvalMatching
from astr_cli.resources import shipped_weights
from astr_cli.scenes.textures import procedural_textures
from astr_cli.store.types import PairMatches

SHARED = Path(__file__).parents[3] / "shared" / "data"
SIZE = (360, 280)  # (width, height); not multiples of 32, so that resizing is at work
SIZES = {1: SIZE, 2: SIZE, 3: (300, 330)}
TRUTH = {
    2: np.array([[0.95, 0.06, 8.0], [-0.05, 1.02, 3.0], [1e-4, -5e-5, 1.0]]),
    3: -2 * np.array([[0.8, -0.2, 50.0], [0.2, 0.8, -10.0], [0, 2e-4, 1.0]]),
}


def as_matches(points0: np.ndarray, points1: np.ndarray) -> PairMatches:
    count = len(points0)
    pair = (points.astype(np.float32) for points in (points0, points1))
    return PairMatches(*pair, np.ones(count, np.float32), np.zeros(count, np.uint8))


def grid() -> np.ndarray:
    x, y = np.meshgrid(np.arange(2.25, SIZE[0], 9), np.arange(1.5, SIZE[1], 9))
    return np.stack((x.ravel(), y.ravel()), axis=1)


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    image = procedural_textures(1, (SIZE[1], SIZE[0]), torch.Generator().manual_seed(4))[0, 0]
    return np.asarray((image * 255).byte().numpy())


def write_sequence(folder: Path, texture: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    Image.fromarray(texture).convert("RGB").save(folder / "1.ppm")
    for number, matrix in TRUTH.items():
        seen = cv2.warpPerspective(texture, matrix, SIZES[number])
        Image.fromarray(seen).convert("RGB").save(folder / f"{number}.ppm")
        (folder / f"H_1_{number}").write_text("\n".join(" ".join(map(str, row)) for row in matrix))
    return folder


@pytest.fixture
def sequence(tmp_path: Path, texture: np.ndarray) -> HomographyFolder:
    (found,) = find_benchmarks(write_sequence(tmp_path / "v_made", texture))
    assert isinstance(found, HomographyFolder)
    return found


def test_a_sequence_is_read(sequence: HomographyFolder) -> None:
    assert sequence.name == "v_made" and sequence.kind == "homography"
    assert [(pair.name0, pair.name1) for pair in sequence.pairs] == [("1.ppm", "2.ppm"), ("1.ppm", "3.ppm")]
    assert sequence.sizes == {f"{number}.ppm": size for number, size in SIZES.items()} and sequence.intrinsics == {}
    np.testing.assert_allclose(sequence.homographies["1.ppm", "3.ppm"], -TRUTH[3])


@pytest.mark.parametrize("long_side", [160, 320, 640])
def test_true_matches_have_no_error_and_wrong_ones_do_at_any_size(sequence: HomographyFolder, long_side: int) -> None:
    truth = sequence.homographies["1.ppm", "2.ppm"]
    points1 = warp(grid(), truth)
    outcome = sequence.score("1.ppm", "2.ppm", as_matches(grid(), points1), long_side)
    assert outcome.result.matches == outcome.result.right == len(points1) > 200
    assert outcome.result.corner_error < 0.02
    # 3 px are those of the matched size: the same shift of raw pixels is right at 160 px and wrong at 320.
    scale = {160: 160 / 360, 320: 320 / 360, 640: 352 / 360}[long_side]
    outcome = sequence.score("1.ppm", "2.ppm", as_matches(grid(), points1 + [2.9 / scale, 0]), long_side)
    assert outcome.result.right == len(points1)
    np.testing.assert_allclose(outcome.errors, 2.9 / 3, atol=2e-3)
    assert outcome.result.corner_error == pytest.approx(2.9, abs=0.05)
    assert sequence.score("1.ppm", "2.ppm", as_matches(grid(), points1 + [3.1 / scale, 0]), long_side).result.right == 0


def test_pixels_are_those_of_the_second_photo(sequence: HomographyFolder) -> None:
    """300 x 330 becomes 288 x 320 at 320 px."""
    points1 = warp(grid(), sequence.homographies["1.ppm", "3.ppm"])
    right = sequence.score("1.ppm", "3.ppm", as_matches(grid(), points1), 320)
    assert right.errors.max() < 1e-3 and right.result.corner_error < 0.02
    aside = sequence.score("1.ppm", "3.ppm", as_matches(grid(), points1 + [2, 0]), 320)
    np.testing.assert_allclose(aside.errors, 2 * 288 / 300 / 3, atol=1e-3)
    below = sequence.score("1.ppm", "3.ppm", as_matches(grid(), points1 + [0, 2]), 320)
    np.testing.assert_allclose(below.errors, 2 * 320 / 330 / 3, atol=1e-3)


def test_corners_are_those_of_the_matched_size(sequence: HomographyFolder) -> None:
    """A second photo seen 5% too large is off by 5% of where each corner is; 360 x 280 becomes 320 x 256."""
    truth = sequence.homographies["1.ppm", "3.ppm"]
    large = sequence.score("1.ppm", "3.ppm", as_matches(grid(), 1.05 * warp(grid(), truth)), 320).result
    ends = warp(to_original(corners((320, 256)), SIZE, (320, 256)).astype(float), truth) * (288 / 300, 320 / 330)
    assert large.corner_error == pytest.approx(0.05 * np.linalg.norm(ends, axis=1).mean(), rel=1e-3)


def test_totals_count_failed_pairs(sequence: HomographyFolder) -> None:
    truth = sequence.homographies["1.ppm", "2.ppm"]

    def match(name0: str, name1: str) -> PairMatches:
        return PairMatches.empty() if name1 == "3.ppm" else as_matches(grid(), warp(grid(), truth))

    done = evaluate(sequence, "half", match, 320)
    (row,) = done.totals
    assert row.auc3 == pytest.approx(0.5, abs=0.01) and row.auc10 == pytest.approx(0.5, abs=0.01)
    assert row.matches == row.right == len(grid()) / 2
    assert done.results[1].record()["corner_error"] is None
    assert json.loads(json.dumps(done.results[1].record(), allow_nan=False))["matches"] == 0
    assert "corner error inf" in done.results[1].caption()


def test_sift_finds_the_homographies(sequence: HomographyFolder) -> None:
    """The whole way, pixels included: a half pixel lost on it would cost half a pixel in the corners."""
    done = evaluate(sequence, "sift", SiftMatcher(sequence.images, 640).match, 640)
    assert min(result.matches for result in done.results) > 100
    assert max(result.corner_error for result in done.results) < 0.3


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1 0 0 0 1 0 0 0", "expected 3x3 numbers"),
        ("1 0 0 0 1 0 0 0 x", "expected 3x3 numbers"),
        ("1 0 0 0 1 0 0 0 nan", "is not a 3x3 homography"),
        ("1 0 0 0 0 0 0 0 1", "is not a 3x3 homography"),
    ],
)
def test_bad_homographies_are_named(tmp_path: Path, texture: np.ndarray, text: str, part: str) -> None:
    folder = write_sequence(tmp_path / "s", texture)
    (folder / "H_1_3").write_text(text)
    with pytest.raises(EvaluateError, match=part):
        find_benchmarks(folder)


def test_a_wide_pair_is_scored_and_infinitely_far_off(tmp_path: Path, texture: np.ndarray) -> None:
    """Public sets have pairs whose homography sends a corner beyond the horizon; the others are scored as ever."""
    folder = write_sequence(tmp_path / "s", texture)
    before = find_benchmarks(folder)[0]
    (folder / "H_1_3").write_text("1 0 0 0 1 0 -0.004 0 1")
    (wide,) = find_benchmarks(folder)
    scores = [evaluate(each, "sift", SiftMatcher(each.images, 640).match, 640) for each in (before, wide)]
    errors = [{result.name1: result.corner_error for result in done.results} for done in scores]
    assert errors[1].pop("3.ppm") == np.inf
    assert errors[1].items() <= errors[0].items()
    assert 0 < scores[1].totals[0].auc10 < scores[0].totals[0].auc10


def test_a_missing_photo_of_a_sequence_is_named(tmp_path: Path, texture: np.ndarray) -> None:
    folder = write_sequence(tmp_path / "s", texture)
    (folder / "3.ppm").unlink()
    with pytest.raises(EvaluateError, match=r"H_1_3: its photo 3\.ppm"):
        find_benchmarks(folder)


def write_stereo(root: Path, texture: np.ndarray, **changes: Any) -> Path:
    """A slanted wall, d = 10 + x / 20, its right quarter occluded and its first row unknown."""
    (root / "images").mkdir(parents=True)
    cv2.imwrite(str(root / "images/l.png"), texture)
    x = np.arange(SIZE[0], dtype=np.float32)
    source = np.broadcast_to((x + 10) / 0.95, texture.shape).astype(np.float32)  # x1 = x - 10 - x / 20
    rows = np.broadcast_to(np.arange(SIZE[1], dtype=np.float32)[:, None], texture.shape).copy()
    cv2.imwrite(str(root / "images/r.png"), cv2.remap(texture, source, rows, cv2.INTER_LINEAR))
    disparity = np.broadcast_to(10 + x / 20, texture.shape).astype(np.float16)
    disparity[0] = np.inf
    free = np.ones(texture.shape, bool)
    free[:, 270:] = False
    arrays = {"wall": disparity, "wall_nonoccluded": free} | changes
    np.savez(root / "disparity.npz", **{key: value for key, value in arrays.items() if value is not None})
    pairs = [{"name": "wall", "im0": "l.png", "im1": "r.png"}]
    (root / "gt.json").write_text(json.dumps({"type": "disparity", "pairs": pairs}))
    return root


@pytest.fixture
def stereo(tmp_path: Path, texture: np.ndarray) -> DisparityFolder:
    (found,) = find_benchmarks(write_stereo(tmp_path / "wall", texture))
    assert isinstance(found, DisparityFolder)
    return found


def test_only_known_and_free_disparity_counts(stereo: DisparityFolder) -> None:
    points0 = grid()
    points1 = points0 - np.stack((10 + points0[:, 0] / 20, np.zeros(len(points0))), axis=1)
    wrong = points0[:, 0] > 200
    points1[wrong] += [0, 5]
    outcome: PairOutcome[Any] = stereo.score("l.png", "r.png", as_matches(points0, points1), 320)
    free = points0[:, 0] < 269.5
    assert (np.isfinite(outcome.errors) == free).all()
    result = outcome.result
    assert (result.matches, len(result.errors)) == (len(points0), free.sum())
    assert result.median < 0.01  # float16 holds 24 within 1/128
    assert result.right == pytest.approx((free & ~wrong).sum() / free.sum())
    np.testing.assert_allclose(outcome.errors[free & wrong], 5 * 256 / 280, atol=0.02)
    aside = stereo.score("l.png", "r.png", as_matches(points0, points1 + [5, 0]), 160)
    np.testing.assert_allclose(aside.errors[free & ~wrong], 5 * 160 / 360, atol=0.02)
    top = stereo.score("l.png", "r.png", as_matches(points0 * [1, 0], points1 * [1, 0]), 320).result
    assert top.median is None and top.right is None and "none with known disparity" in top.caption()


def test_totals_are_over_the_matches_of_all_pairs(stereo: DisparityFolder) -> None:
    points0 = grid()[grid()[:, 0] < 260]
    points1 = points0 - np.stack((10.2 + points0[:, 0] / 20, np.zeros(len(points0))), axis=1)
    many = stereo.score("l.png", "r.png", as_matches(points0, points1), 640).result
    few = stereo.score("l.png", "r.png", as_matches(points0[:3], points1[:3] + [0, 30]), 640).result
    (row,) = stereo.totals([many, few])
    assert row.known == len(points0) + 3 and row.matches == row.known / 2
    assert row.median == pytest.approx(0.2 * 352 / 360, abs=0.01)
    assert row.under1 == pytest.approx(len(points0) / row.known)
    (empty,) = stereo.totals([stereo.score("l.png", "r.png", PairMatches.empty(), 640).result])
    assert (empty.median, empty.under1, empty.known) == (None, None, 0)


def test_sift_is_sub_pixel_on_the_wall(stereo: DisparityFolder) -> None:
    done = evaluate(stereo, "sift", SiftMatcher(stereo.images, 640).match, 640)
    assert done.totals[0].known > 100
    assert done.totals[0].median < 0.25 and done.totals[0].under1 > 0.9


@pytest.mark.parametrize(
    "change",
    [{"wall": None}, {"wall_nonoccluded": None}, {"wall": np.zeros((3, 4))}, {"wall": np.full((280, 360), "x")}],
)
def test_bad_disparity_is_named(tmp_path: Path, texture: np.ndarray, change: dict[str, Any]) -> None:
    with pytest.raises(EvaluateError, match=r"disparity\.npz: wall.*expected an array of 280 rows and 360 columns"):
        find_benchmarks(write_stereo(tmp_path / "s", texture, **change))


@pytest.mark.parametrize(
    ("pairs", "part"),
    [
        ([], "contains no pairs"),
        ([{"im0": "l.png", "im1": "r.png"}], "expected name, im0 and im1"),
        ([{"name": "wall", "im0": "l.png", "im1": "x.png"}], r"x\.png: no such image"),
        ([{"name": "wall", "im0": "l.png", "im1": "l.png"}], "with itself"),
        ([{"name": "wall", "im0": "l.png", "im1": "r.png"}] * 2, "listed twice"),
    ],
)
def test_bad_pairs_are_named(tmp_path: Path, texture: np.ndarray, pairs: Any, part: str) -> None:
    root = write_stereo(tmp_path / "s", texture)
    (root / "gt.json").write_text(json.dumps({"type": "disparity", "pairs": pairs}))
    with pytest.raises(AstrError, match=rf"gt\.json: .*{part}"):
        find_benchmarks(root)


def real(name: str) -> Any:
    if not SHARED.is_dir():
        pytest.skip("no ../shared/data here")
    (found,) = find_benchmarks(SHARED / name)
    return found


def test_real_homographies_agree_with_sift() -> None:
    graf = real("homography/graf")
    assert [pair.name1 for pair in graf.pairs] == [f"img{k}.jpg" for k in range(2, 7)]
    done = evaluate(graf.thinned(1), "sift", SiftMatcher(graf.images, 640).match, 640)
    assert done.results[0].right > 300 and done.results[0].corner_error < 1


def test_real_disparities_agree_with_sift() -> None:
    stereo = real("stereo/middlebury")
    assert len(stereo.pairs) == 8
    done = evaluate(stereo.thinned(2), "sift", SiftMatcher(stereo.images, 640).match, 640)
    assert done.totals[0].known > 500
    assert done.totals[0].median < 0.4


@pytest.mark.skipif("astr-small" not in shipped_weights(), reason="weights/astr-small.safetensors is not there")
@pytest.mark.parametrize(
    ("name", "field", "least"), [("homography/graf", "right", 400), ("stereo/middlebury", "known", 400)]
)
def test_shipped_weights_on_a_real_pair(name: str, field: str, least: int, tmp_path: Path) -> None:
    """One easy pair at a small size: coordinates, readers and weights fit together."""
    from astr_cli.evaluate.run import evaluate_astr, match_options

    benchmark = real(name).thinned(1)
    options = match_options(benchmark, tmp_path, EvalMatching(long_side=320, device="cpu"))
    (row,) = evaluate_astr(benchmark, options, lambda event: None).totals
    assert getattr(row, field) >= least
    if benchmark.kind == "homography":
        assert row.auc5 > 0.7 and row.right > 0.8 * row.matches
    else:
        assert row.median < 1
