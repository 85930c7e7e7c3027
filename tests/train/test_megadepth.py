"""MegaDepth in LoFTR's layout: labels, batches, and their place in the mix."""

import dataclasses
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.errors import AstrError
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.overlap import overlap
from astr_cli.train.batches import make_scene
from astr_cli.train.checkpoint import save_run, start_run
from astr_cli.train.command import TrainRequest, check_request
from astr_cli.train.config import TrainConfig
from astr_cli.train.contact_sheet import contact_sheet
from astr_cli.train.frames import Crop, cut
from astr_cli.train.megadepth import MegadepthSet, _read_frame, load_megadepth
from astr_cli.train.photos import PhotoSet
from astr_cli.train.scene_mix import SUBPIXEL, RecordingFolders, SceneMix, SceneShares, kind_of, mixed_scene
from astr_cli.train.supervision import centres, supervise

from .megadepth_folder import (
    HEIGHT,
    INTRINSICS,
    WIDTH,
    depth_name,
    files_of,
    index_content,
    on_plane,
    pose_of,
    project,
    seen,
    to_crop,
    to_photo,
    whole_grid,
    write_depth,
    write_index,
)

CPU = torch.device("cpu")
ONLY = SceneShares(planes=0, relief=0, rooms=0, facades=0, rgbd=0, megadepth=1, model=0)
PHOTOS = PhotoSet((np.zeros((64, 64), np.uint8),))


def views_drawn(found: MegadepthSet, difficulty: float, times: int = 200) -> list[tuple[int, int]]:
    generator = torch.Generator().manual_seed(0)
    drawn = [found._draw(generator, difficulty) for _ in range(times)]
    return [(int(a.image.stem), int(b.image.stem)) for a, b in drawn]


def batched(pair: ScenePair) -> ScenePair:
    return ScenePair(*(part[None] for part in pair))


def test_labels_of_crops_are_exact(root: Path) -> None:
    """By the plane itself: from a cell of one crop to its photo, the world, the other photo and its crop."""
    found = load_megadepth(root)
    crops = Crop(95.0, 72.0, 120.0, 0.5), Crop(101.0, 76.0, 104.0, -0.4)
    scene = batched(cut((_read_frame(files_of(found, 0)), _read_frame(files_of(found, 1))), crops, 96))
    truth = supervise(scene)
    assert len(truth.batch) > 60
    ways = ((0, 1, truth.cells0, truth.cells1, truth.offsets1), (1, 0, truth.cells1, truth.cells0, truth.offsets0))
    for here, there, cells, partners, offsets in ways:
        points, _ = on_plane(here, to_photo(crops[here], 96, centres(cells, 12).double().numpy()))
        expected = to_crop(crops[there], 96, project(there, points))
        label = (centres(partners, 12) + offsets).double().numpy()
        np.testing.assert_allclose(label, expected, atol=5e-3)


def test_a_crop_has_the_grey_and_the_depth_of_the_plane_at_every_pixel(root: Path) -> None:
    frame = _read_frame(files_of(load_megadepth(root), 1))
    np.testing.assert_allclose(frame.intrinsics, INTRINSICS, atol=1e-12)
    np.testing.assert_allclose(frame.pose, np.linalg.inv(pose_of(1)), atol=1e-12)
    crop = Crop(90.0, 70.0, 110.0, 0.2)
    scene = cut((frame, frame), (crop, crop), 64)
    pixels = np.stack(np.meshgrid(np.arange(64.0), np.arange(64.0)), -1).reshape(-1, 2)
    grey, z = (values.reshape(64, 64) for values in seen(1, to_photo(crop, 64, pixels)))
    known = scene.depth0.numpy() > 0
    assert 0.9 < known.mean() < 0.99
    np.testing.assert_allclose(scene.depth0.numpy()[known], z[known], rtol=1e-4)
    np.testing.assert_allclose(scene.image0[0].numpy()[2:-2, 2:-2], grey[2:-2, 2:-2], atol=0.01)


def test_batches_keep_images_depths_cameras_and_pose_together(root: Path) -> None:
    """1 / z is linear on a plane, and with the cameras that gives the homography of each pair of crops."""
    scene = load_megadepth(root).batch(6, 64, torch.Generator().manual_seed(0))
    assert scene.image0.shape == (6, 1, 64, 64) and scene.depth0.shape == (6, 64, 64)
    assert all(part.dtype == torch.float32 and torch.isfinite(part).all() for part in scene)
    assert overlap(scene).min() > 0.1
    truth = supervise(scene)
    assert len(truth.batch) > 100
    for index in range(6):
        k0, k1, pose = (part[index].double().numpy() for part in (scene.intrinsics0, scene.intrinsics1, scene.pose))
        rows, columns = np.nonzero(scene.depth0[index].numpy())
        rays = np.c_[columns, rows, np.ones(len(rows))] @ np.linalg.inv(k0).T
        inverse = 1 / scene.depth0[index].double().numpy()[rows, columns]
        normal, *_ = np.linalg.lstsq(rays, inverse, rcond=None)
        assert np.abs(rays @ normal / inverse - 1).max() < 2e-4
        homography = k1 @ (pose[:3, :3] + np.outer(pose[:3, 3], normal)) @ np.linalg.inv(k0)
        own = truth.batch == index
        image = np.c_[centres(truth.cells0[own], 8).numpy(), np.ones(int(own.sum()))] @ homography.T
        label = (centres(truth.cells1[own], 8) + truth.offsets1[own]).numpy()
        np.testing.assert_allclose(label, image[:, :2] / image[:, 2:], atol=2e-2)
        warped = cv2.warpPerspective(
            scene.image1[index, 0].numpy(), homography, (64, 64), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )
        at = truth.cells0[own].numpy() // 8 * 8 + 3, truth.cells0[own].numpy() % 8 * 8 + 3
        assert np.median(np.abs(warped[at] - scene.image0[index, 0].numpy()[at])) < 0.01


def test_depth_is_never_mixed_across_an_edge(root: Path) -> None:
    path = root / "train" / depth_name(0)
    _, z = seen(0, whole_grid())
    depth = z.reshape(HEIGHT, WIDTH)
    depth[:, 90:] *= 0.6
    depth[100:110, 20:40] = -1  # MegaDepth marks pixels that have an order only
    depth[100:110, 50:60] = np.nan
    write_depth(path, depth)
    frame = _read_frame(files_of(load_megadepth(root), 0))
    crop = Crop(92.0, 74.0, 140.0, 0.3)
    found = cut((frame, frame), (crop, crop), 80).depth0.numpy()
    pixels = np.stack(np.meshgrid(np.arange(80.0), np.arange(80.0)), -1).reshape(-1, 2)
    photo = to_photo(crop, 80, pixels)
    _, expected = seen(0, photo)
    expected = np.where(photo[:, 0] < 89.5, expected, 0.6 * expected).reshape(80, 80)
    assert np.isfinite(found).all()
    known = found > 0
    assert (known[:, :30].mean() > 0.6) and (known[:, 50:].mean() > 0.95)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-4)
    for left, right in ((20, 40), (50, 60)):
        inside = (photo[:, 0] > left) & (photo[:, 0] < right - 1) & (photo[:, 1] > 100) & (photo[:, 1] < 109)
        assert inside.sum() > 10 and not known.reshape(-1)[inside].any()


def test_pairs_come_by_scene_and_then_by_overlap(root: Path) -> None:
    """Half of them from each index file; of a file every pair in range, at difficulty 0 the largest overlaps only."""
    found = load_megadepth(root)
    drawn = views_drawn(found, 1.0)
    assert set(drawn) == {(0, 2), (0, 1), (1, 2)} and 70 < drawn.count((0, 2)) < 130
    assert set(views_drawn(found, 0.0)) == {(0, 2), (0, 1)}


def test_overlaps_out_of_range_and_test_scenes_are_never_drawn(root: Path) -> None:
    for name in ("0001_0.1_0.3", "0001_0.3_0.5"):
        (root / "index" / "scene_info_0.1_0.7" / f"{name}.npz").unlink()
    write_index(root, "0003_a", index_content((0, 1, 0.09), (0, 2, 0.1), (1, 2, 0.7), (1, 0, 0.71), (2, 0, math.nan)))
    write_index(root, "0015_0.1_0.3", index_content((0, 1, 0.2)))
    assert set(views_drawn(load_megadepth(root), 1.0)) == {(0, 2), (1, 2)}


def test_folders_may_be_links_even_in_circles(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "data" / "megadepth"
    (linked / "index").mkdir(parents=True)
    (linked / "train").mkdir()
    for path in ((root / "index" / "scene_info_0.1_0.7"), *(root / "train").iterdir()):
        (linked / path.parent.name / path.name).symlink_to(path)
    (linked / "train" / "again").symlink_to(linked)
    assert len(load_megadepth(linked).scenes) == 2


def test_a_step_makes_the_same_scene_in_a_resumed_run(root: Path) -> None:
    """Whatever was drawn before, and though the folder was read anew; the next step makes another one."""
    config = TrainConfig(side=64, batch=2, planes_share=0, relief_share=0, rooms_share=0, facades_share=0, rgbd_share=0)
    whole, again = load_megadepth(root), load_megadepth(root)
    steps = [make_scene(PHOTOS, {"megadepth": whole}, config, step, CPU) for step in range(3)]
    kind, resumed = make_scene(PHOTOS, {"megadepth": again}, config, 2, CPU)
    assert kind == "megadepth"
    assert all(torch.equal(a, b) for a, b in zip(steps[2].scene, resumed, strict=True))
    assert not torch.equal(steps[1].scene.image0, resumed.image0)


def test_the_mix_trains_all_stages_on_them(root: Path) -> None:
    mix = SceneMix(2, 64, ONLY, difficulty=0.5)
    found = {"megadepth": load_megadepth(root)}
    kind, scene = mixed_scene(PHOTOS, found, mix, torch.Generator().manual_seed(0), CPU)
    assert kind == "megadepth" and kind in SUBPIXEL
    assert scene.image0.shape == (2, 1, 64, 64) and len(supervise(scene).batch) > 20
    with pytest.raises(AstrError, match="one of them must be positive"):
        mixed_scene(PHOTOS, None, mix, torch.Generator().manual_seed(0), CPU)
    assert contact_sheet("megadepth", PHOTOS, found).std() > 20


def test_it_comes_as_often_as_its_share_says() -> None:
    shares = SceneShares(planes=1, relief=0, rooms=2, facades=3, rgbd=4, megadepth=10, model=0)
    draws = torch.rand(4000, generator=torch.Generator().manual_seed(0)).tolist()
    kinds = [kind_of(draw, shares, ("rgbd", "megadepth")) for draw in draws]
    for name, weight in vars(shares).items():
        assert kinds.count(name) / len(draws) == pytest.approx(weight / 20, abs=0.03)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 100), st.booleans())
def test_without_a_folder_its_share_changes_no_draw(draw: float, share: float, with_rgbd: bool) -> None:
    shares = dataclasses.replace(SceneShares(), megadepth=share)
    without = dataclasses.replace(SceneShares(), megadepth=0.0)
    others = ["rgbd"] * with_rgbd
    assert kind_of(draw, shares, others) == kind_of(draw, without, others)
    assert kind_of(draw, shares, others) == kind_of(draw, without, [*others, "megadepth"])


def test_a_run_that_began_without_it_keeps_its_mix(tmp_path: Path) -> None:
    stored = json.loads(TrainConfig(rgbd_share=0.3).to_json())
    del stored["megadepth_share"]
    config = TrainConfig.from_json(json.dumps(stored))
    assert (config.megadepth_share, config.rgbd_share, config.planes_share) == (0.0, 0.3, TrainConfig.planes_share)
    assert TrainConfig.from_json(TrainConfig().to_json()) == TrainConfig()
    save_run(tmp_path, start_run(config, CPU), config)
    request = TrainRequest(tmp_path, RecordingFolders(), None, tmp_path, None, (), None, 10, "cpu")
    assert check_request(request) == (tmp_path, config)
    with pytest.raises(AstrError, match="resume without --megadepth, or use --init"):
        check_request(dataclasses.replace(request, recordings=RecordingFolders(megadepth=tmp_path)))
