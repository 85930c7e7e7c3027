"""The Python API: paths and arrays, the same result as the command, and clear refusals."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

import astr_cli
from astr_cli import Matcher, Matches
from astr_cli.errors import AstrError
from astr_cli.images.errors import ImageError
from astr_cli.matching.run.match import match_pairs
from astr_cli.store.matches_file import MatchesFile


@pytest.fixture(scope="module")
def matcher(weights) -> Matcher:
    return Matcher.load(weights, device="cpu", long_side=96, threshold=0.0)


def equal(found: Any, other: Any) -> bool:
    names = ("keypoints0", "keypoints1", "scores", "reference")
    return all(np.array_equal(getattr(found, name), getattr(other, name)) for name in names)


def test_paths_give_what_the_command_writes(scene, matcher: Matcher) -> None:
    match_pairs(scene.options())
    name0, name1 = scene.pairs[3]
    found = matcher.match(scene.root / name0, str(scene.root / name1))
    assert isinstance(found, Matches)
    assert len(found) > 0
    assert [array.dtype.str for array in (found.keypoints0, found.scores, found.reference)] == ["<f4", "<f4", "|u1"]
    with MatchesFile(scene.root / "m.h5") as file:
        assert equal(found, file.read(name0, name1))


def test_arrays_give_what_paths_give(scene, matcher: Matcher) -> None:
    paths = [scene.root / name for name in scene.names[:2]]
    gray = [np.asarray(Image.open(path)) for path in paths]
    expected = matcher.match(*paths)
    assert equal(matcher.match(*gray), expected)
    assert equal(matcher.match(*(pixels[..., None].repeat(3, axis=2) for pixels in gray)), expected)
    assert equal(matcher.match(gray[0] / 255, gray[1].astype(np.float32) / 255), expected)
    before = gray[0].copy()
    assert equal(matcher.match(gray[0], paths[1]), expected)
    assert np.array_equal(before, gray[0])


def test_colours_become_luma(scene, matcher: Matcher, texture: np.ndarray) -> None:
    colour = np.stack([texture, texture[::-1], texture[:, ::-1]], axis=2)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    found, expected = matcher.match(colour, texture), matcher.match(luma, texture)
    assert abs(len(found) - len(expected)) <= 0.1 * len(expected)


def test_intrinsics_default_to_exif_for_paths(scene, weights, monkeypatch: pytest.MonkeyPatch) -> None:
    from astr_cli.matching.run.model_runner import PairInput, Runner

    seen: list[PairInput] = []
    real = Runner.match
    monkeypatch.setattr(Runner, "match", lambda self, batch: seen.extend(batch) or real(self, batch))
    matcher = Matcher.load(weights, device="cpu", long_side=80, threshold=0.0)
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.FocalLengthIn35mmFilm: 35}
    path = scene.root / "exif.png"
    Image.open(scene.root / scene.names[0]).save(path, exif=exif)
    matcher.match(path, scene.root / scene.names[1])
    assert seen[0].view1.intrinsics is None
    focal = 35 / 43.27 * np.hypot(160, 128)
    width, height = seen[0].view0.matched
    expected = [[focal * width / 160, 0, (width - 1) / 2], [0, focal * height / 128, (height - 1) / 2], [0, 0, 1]]
    np.testing.assert_allclose(seen[0].view0.intrinsics, expected, atol=1e-9)
    matcher.match(path, scene.root / scene.names[1], intrinsics0=np.diag([100.0, 100.0, 1.0]))
    assert seen[1].view0.intrinsics is not None
    assert seen[1].view0.intrinsics[0, 0] == pytest.approx(100 * width / 160)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 100, 100), np.uint8), r"image0: expected an array \(h, w\) or \(h, w, 3\), got \(3, 100, 100\)"),
        (np.zeros((0, 100), np.uint8), "image0: expected an array"),
        (np.full((100, 100), 255.0), r"floats in \[0, 1\]; divide by 255"),
        (np.full((100, 100), np.nan), r"floats in \[0, 1\]"),
        (np.zeros((100, 100), np.int64), "got int64"),
    ],
)
def test_arrays_of_another_form_are_refused(matcher: Matcher, image: np.ndarray, message: str) -> None:
    with pytest.raises(AstrError, match=message):
        matcher.match(image, np.zeros((100, 100), np.uint8))


@pytest.mark.parametrize("matrix", [np.eye(4), np.zeros((3, 3)), np.full((3, 3), np.nan)])
def test_camera_matrices_of_another_form_are_refused(matcher: Matcher, matrix: np.ndarray) -> None:
    flat = np.zeros((100, 100), np.uint8)
    with pytest.raises(AstrError, match="intrinsics of image1"):
        matcher.match(flat, flat, None, matrix)


def test_unreadable_files_are_named(scene, matcher: Matcher) -> None:
    with pytest.raises(ImageError, match="nowhere"):
        matcher.match(scene.root / scene.names[0], scene.root / "nowhere.png")


def test_bad_arguments_are_refused(weights) -> None:
    for given in ({"threshold": 2.0}, {"max_matches": 0}, {"long_side": 8}, {"device": "tpu"}, {"precision": "fp8"}):
        with pytest.raises(AstrError):
            Matcher.load(weights, **given)


def test_package_is_lazy_and_complete() -> None:
    assert set(astr_cli.__all__) <= set(dir(astr_cli))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        astr_cli.Nothing  # noqa: B018
    program = (
        "import sys, astr_cli; heavy = {'torch', 'cv2', 'h5py', 'numpy', 'pycolmap'}; "
        "assert not heavy & set(sys.modules); astr_cli.Matcher; assert 'torch' in sys.modules; "
        "assert 'pycolmap' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
