"""Rendered scenes as benchmarks: what was written is read back, with the truth of the scenes."""

import cv2
import numpy as np
import pytest
import torch

from astr_cli.evaluate.homography_folder import HomographyFolder
from astr_cli.evaluate.metrics import normalise, symmetric_epipolar_errors
from astr_cli.evaluate.pose_folder import PoseFolder
from astr_cli.evaluate.readers.find import find_benchmarks
from astr_cli.scenes.textures import procedural_textures
from astr_cli.train import validation_folder
from astr_cli.train.photos import held_out, load_photos
from astr_cli.train.supervision import centres, supervise
from astr_cli.train.validation_folder import POSED, ZOOM, _draw, _scene, write_validation

SIZE = (96, 128)
LARGE = (192, 256)
PAIRS = 2


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of photos of which some are held out; and scenes small enough for a test."""
    for name, value in (("SIZE", SIZE), ("LARGE", LARGE), ("LEAST", 20)):
        monkeypatch.setattr(validation_folder, name, value)
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [name for name in (f"{number}.png" for number in range(400)) if held_out(name)][:5]
    textures = procedural_textures(len(names), (160, 200), torch.Generator().manual_seed(5))
    for name, texture in zip(names, textures, strict=True):
        cv2.imwrite(str(folder / name), (texture[0].numpy() * 255).astype(np.uint8))
    return folder


def test_benchmarks_hold_the_truth_of_their_scenes(photos, tmp_path):
    said = []
    write_validation(photos, tmp_path / "out", said.append, PAIRS)
    found = {benchmark.name: benchmark for benchmark in find_benchmarks(tmp_path / "out")}
    assert sorted(found) == ["facades", "planes", "relief", "rooms", "zoom", "zoom-large"]
    assert all(len(benchmark.pairs) == 2 for benchmark in found.values())
    relief = found["relief"]
    assert isinstance(relief, PoseFolder)
    assert said == [str(tmp_path / "out" / kind) for kind in (*POSED, "zoom", "zoom-large", "planes")]
    scenes = _draw(load_photos(photos, validation=True), ("relief",), 1.0, PAIRS)
    for pair, (_, _, scene) in zip(relief.pairs, scenes, strict=True):
        truth = supervise(scene)
        assert len(truth.batch) >= 20
        points0 = centres(truth.cells0, SIZE[1] // 8).double().numpy()
        points1 = (centres(truth.cells1, SIZE[1] // 8) + truth.offsets1).double().numpy()
        views = relief.views[pair.name0], relief.views[pair.name1]
        points = [normalise(p, view.intrinsics) for p, view in zip((points0, points1), views, strict=True)]
        assert symmetric_epipolar_errors(*points, relief.truth(pair.name0, pair.name1)).max() < 1e-9
        stored = cv2.imread(str(relief.images / pair.name0), cv2.IMREAD_GRAYSCALE)
        assert np.abs(stored / 255 - scene.image0[0, 0].numpy()).max() < 0.51 / 255


def test_planes_are_homographies_before_the_horizon(photos, tmp_path):
    write_validation(photos, tmp_path / "out", lambda _: None, PAIRS)
    (planes,) = (benchmark for benchmark in find_benchmarks(tmp_path / "out") if benchmark.name == "planes")
    assert isinstance(planes, HomographyFolder)
    scenes = _draw(load_photos(photos, validation=True), ("planes",), 1.0, PAIRS)
    for pair, (_, _, scene) in zip(planes.pairs, scenes, strict=True):
        truth = supervise(scene)
        at0 = centres(truth.cells0, SIZE[1] // 8).double().numpy()
        expected = (centres(truth.cells1, SIZE[1] // 8) + truth.offsets1).double().numpy()
        sent = cv2.perspectiveTransform(at0[None], planes.homographies[pair.name0, pair.name1])[0]
        assert np.abs(sent - expected).max() < 1e-2


def test_the_first_pairs_are_the_same_for_any_number_of_pairs(photos, tmp_path):
    for name, pairs in (("few", 1), ("more", 2)):
        write_validation(photos, tmp_path / name, lambda _: None, pairs)
    few = sorted(path.relative_to(tmp_path / "few") for path in (tmp_path / "few").rglob("*.*g"))
    assert len(few) == 12
    for path in few:
        assert (tmp_path / "few" / path).read_bytes() == (tmp_path / "more" / path).read_bytes()


def test_zoom_large_shows_the_scenes_of_zoom_at_twice_the_size(photos, tmp_path):
    write_validation(photos, tmp_path / "out", lambda _: None, PAIRS)
    found = {benchmark.name: benchmark for benchmark in find_benchmarks(tmp_path / "out")}
    small, large = found["zoom"], found["zoom-large"]
    assert isinstance(small, PoseFolder) and isinstance(large, PoseFolder)
    for pair, twice in zip(small.pairs, large.pairs, strict=True):
        assert large.sizes[twice.name0] == (LARGE[1], LARGE[0])
        truth, same = small.truth(pair.name0, pair.name1), large.truth(twice.name0, twice.name1)
        np.testing.assert_allclose(same.rotation, truth.rotation, atol=1e-6)
        np.testing.assert_allclose(same.translation, truth.translation, atol=1e-5)
        for name, other in ((pair.name0, twice.name0), (pair.name1, twice.name1)):
            first, second = (
                cv2.imread(str(benchmark.images / file), cv2.IMREAD_GRAYSCALE)
                for benchmark, file in ((small, name), (large, other))
            )
            shrunk = cv2.resize(second, (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)
            # Noise and light are of each photo; what is seen is the same.
            blurred = [cv2.GaussianBlur(image, (0, 0), 2).ravel().astype(float) for image in (first, shrunk)]
            assert np.corrcoef(*blurred)[0, 1] > 0.7


def test_zoom_pairs_have_large_scale_ratios_at_both_sizes(photos):
    held_out = load_photos(photos, validation=True)
    for kind, seed, scene in _draw(held_out, POSED, ZOOM, PAIRS):
        for rendered in (scene, _scene(held_out, kind, seed, LARGE)):
            assert supervise(rendered).ratios.log().median().abs().exp() > 0.98 * ZOOM
