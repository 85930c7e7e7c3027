"""`--tiles` with the shipped weights: full-size accuracy, no doubles, no seams; and coordinates there and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from astr_cli.matching.photos.geometry import photo_geometry
from astr_cli.matching.regions.geometry import Window
from astr_cli.matching.regions.matching import Sized
from astr_cli.matching.run.match import match_pairs
from astr_cli.matching.tiles.geometry import level_size, spans
from astr_cli.matching.tiles.matcher import merged
from astr_cli.options.matching import MatchOptions
from astr_cli.scenes.textures import procedural_textures
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches

SHIFT = np.array([24, 16])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of 600 x 440 a few cells apart, and the second one at half its size and turned."""
    folder = tmp_path_factory.mktemp("large")
    pixels = (procedural_textures(1, (456, 624), torch.Generator().manual_seed(5))[0, 0] * 255).byte().numpy()
    second = pixels[SHIFT[1] :, SHIFT[0] :]
    Image.fromarray(pixels[:440, :600]).save(folder / "a.png")
    Image.fromarray(second).save(folder / "b.png")
    Image.fromarray(second).resize((300, 220), Image.Resampling.BOX).save(folder / "half.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(second))).save(folder / "turned.png")
    return folder


def matched(photos: Path, second: str, name: str, **changes: object) -> PairMatches:
    pairs = photos / f"{name}.txt"
    pairs.write_text(f"a.png {second}\n")
    options = MatchOptions(
        pairs=pairs, out=photos / f"{name}.h5", images=photos, long_side=256, device="cpu", **changes
    )
    match_pairs(options)
    with MatchesFile(options.out) as file:
        return file.read("a.png", second)


def test_full_size_is_finer_has_no_doubles_and_no_seams(photos: Path) -> None:
    small, found = matched(photos, "b.png", "small"), matched(photos, "b.png", "tiles", tiles=True)
    assert len(small) >= 200
    assert len(found) > 2.5 * len(small)
    errors = [np.linalg.norm(each.keypoints1 + SHIFT - each.keypoints0, axis=1) for each in (small, found)]
    assert np.median(errors[1]) < np.median(errors[0]) / 1.6
    for side, points in ((0, found.keypoints0), (1, found.keypoints1)):
        own = points[found.reference == side]
        assert len(np.unique(np.rint(own), axis=0)) == len(own)
        np.testing.assert_allclose((own - 3.5) / 8, np.rint((own - 3.5) / 8), atol=1e-4)  # one grid for all tiles
    own = found.keypoints0[found.reference == 0]
    inner = (own[:, 0] > 40) & (own[:, 0] < 560)
    columns = np.bincount((own[inner, 0] // 8).astype(int), minlength=70)[6:69]
    for span in spans(600, 256)[1:]:
        seam = int(span.low // 8) - 6
        assert columns[seam - 2 : seam + 2].mean() > 0.8 * columns.mean()


def test_scales_are_aligned_and_turns_undone(photos: Path) -> None:
    half = matched(photos, "half.png", "half", tiles=True)
    assert len(half) >= 200
    truth = (half.keypoints0 - SHIFT + 0.5) / 2 - 0.5
    assert np.median(np.linalg.norm(half.keypoints1 - truth, axis=1)) < 0.5
    turned = matched(photos, "turned.png", "turned", tiles=True, rotate="auto")
    assert len(turned) >= 200
    x, y = turned.keypoints1.T
    upright = np.stack([599 - y, x], axis=1)
    assert np.median(np.linalg.norm(upright + SHIFT - turned.keypoints0, axis=1)) < 1


def test_again_gives_the_same_bytes_and_rows_in_order(photos: Path) -> None:
    found = matched(photos, "b.png", "first", tiles=True, max_matches=150)
    again = matched(photos, "b.png", "again", tiles=True, max_matches=150, jobs=1)
    assert (photos / "first.h5").read_bytes() == (photos / "again.h5").read_bytes()
    assert np.array_equal(found.keypoints0, again.keypoints0)
    assert len(found) == 300
    assert np.array_equal(found.reference, np.repeat([0, 1], 150))
    assert (np.diff(found.scores[:150]) <= 0).all()


@given(
    code=st.integers(1, 8),
    size=st.tuples(st.integers(40, 4000), st.integers(40, 4000)),
    level=st.integers(0, 4),
    share=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    origin=st.tuples(st.integers(0, 200), st.integers(0, 200)),
)
def test_points_come_back_through_levels_windows_and_turns(
    code: int, size: tuple[int, int], level: int, share: tuple[float, float], origin: tuple[int, int]
) -> None:
    view = photo_geometry(size, 640, None, code)
    upright = size[::-1] if code >= 5 else size
    width, height = level_size(upright, level)
    photo = Sized(np.empty((height, width), np.uint8), None, view)
    where = Window(8 * origin[0], 8 * origin[1], 64, 64)
    raw = (np.array([share]) * size - 0.5).astype(np.float32)
    inside = (photo.from_raw(raw) - where[:2]).astype(np.float32)
    assert np.abs(photo.to_raw(inside, where) - raw).max() < 1e-3 * max(1, 2 ** (level / 2))


def test_a_cell_of_image1_that_two_tiles_matched_counts_once() -> None:
    points0 = np.array([[10.2, 20], [10.4, 20], [11.5, 19.5]], np.float32)
    points1 = np.array([[3.5, 11.5], [3.5, 11.5], [4, 12]], np.float32)
    reference = np.array([1, 1, 0], np.uint8)
    parts = [
        PairMatches(points0[rows], points1[rows], np.array([score], np.float32), reference[rows])
        for rows, score in (([0], 0.5), ([1], 0.7), ([2], 0.6))
    ]
    found = merged(parts, None)
    np.testing.assert_allclose(found.scores, [0.6, 0.7])
    assert merged([], None).scores.size == 0
