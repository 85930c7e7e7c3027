"""RGB-D training pairs: a made recording of a known plane, and the real ones where they are at hand."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from astr_cli.errors import AstrError
from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.overlap import overlap
from astr_cli.train.frames import Crop, cut
from astr_cli.train.photos import PhotoSet
from astr_cli.train.rgbd import AGREEMENT, RgbdSet, _decode, agreement, load_rgbd
from astr_cli.train.scene_mix import SUBPIXEL, SceneMix, SceneShares, mixed_scene
from astr_cli.train.supervision import supervise

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "train" / "rgbd"
WIDTH, HEIGHT, FOCAL = 160, 120, 140.0
INTRINSICS = np.array(((FOCAL, 0, 79.5), (0, FOCAL, 59.5), (0, 0, 1)))


def pose_of(step: int) -> np.ndarray:
    """Camera to world: along x, and turning."""
    angle = 0.02 * step
    pose = np.eye(4)
    pose[:3, :3] = ((math.cos(angle), 0, math.sin(angle)), (0, 1, 0), (-math.sin(angle), 0, math.cos(angle)))
    pose[:3, 3] = (0.05 * step, 0, 0)
    return pose


def seen(step: int, grid: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Grey 0 to 1 and z-depth of the plane z = 2 at image pixels x, y of frame `step`."""
    pose = pose_of(step)
    rays = np.linalg.inv(INTRINSICS) @ np.stack((grid[0].ravel(), grid[1].ravel(), np.ones(grid[0].size)))
    world = pose[:3, :3] @ rays
    z = (2 - pose[2, 3]) / world[2]
    points = pose[:3, 3:] + z * world
    grey = 0.5 + 0.2 * np.sin(9 * points[0]) + 0.2 * np.cos(8 * points[1] + 2 * points[0])
    return grey.reshape(grid[0].shape), z.reshape(grid[0].shape)


def write_sequence(folder: Path, steps: list[int], poses: dict[int, np.ndarray] | None = None) -> None:
    """As the recordings: images, half-size depths in millimetres with a hole, poses."""
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    full = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    half = tuple(2 * line[: HEIGHT // 2, : WIDTH // 2] + 0.5 for line in full)
    frames = {}
    for step in steps:
        grey, _ = seen(step, (full[0], full[1]))
        _, depth = seen(step, (half[0], half[1]))
        depth[20:30, 30:40] = 0
        name = f"{step:04d}"
        image = np.round(grey * 255).astype(np.uint8)
        # Lossless, whatever the name says: cv2 goes by the content.
        (folder / "images" / f"{name}.webp").write_bytes(cv2.imencode(".png", image)[1].tobytes())
        cv2.imwrite(str(folder / "depth" / f"{name}.png"), np.round(depth * 1000).astype(np.uint16))
        frames[name] = (poses or {}).get(step, pose_of(step)).tolist()
    index = {"K": INTRINSICS.tolist(), "size": [WIDTH, HEIGHT], "frames": frames}
    (folder / "frames.json").write_text(json.dumps(index))


@pytest.fixture
def made(tmp_path: Path) -> RgbdSet:
    write_sequence(tmp_path / "plane", [0, 1, 2, 4, 6, 9])
    return load_rgbd(tmp_path)


def residual(scene: ScenePair) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the true matches: relative difference of depths, and of greys, by way of depth0 and the pose."""
    truth = supervise(scene)
    assert len(truth.batch) > 150
    side, width = scene.depth0.shape[2], scene.depth0.shape[2] // 8
    x, y = truth.cells0 % width * 8 + 3, truth.cells0 // width * 8 + 3  # whole pixels
    z = scene.depth0[truth.batch, y, x]
    rays = (
        torch.linalg.inv(scene.intrinsics0)[truth.batch] @ torch.stack((x, y, torch.ones_like(x)), 1).float()[..., None]
    )
    moved = scene.pose[truth.batch, :3, :3] @ (rays * z[:, None, None]) + scene.pose[truth.batch, :3, 3:]
    image = (scene.intrinsics1[truth.batch] @ moved)[..., 0]
    column, row = (image[:, k] / image[:, 2] for k in (0, 1))
    inside = (z > 0) & (column > 1) & (row > 1) & (column < side - 2) & (row < side - 2)
    left, top = (line[inside].floor().long() for line in (column, row))
    fx, fy = column[inside] - left, row[inside] - top
    batch = truth.batch[inside]

    def bilinear(values: torch.Tensor) -> torch.Tensor:
        upper = torch.lerp(values[batch, top, left], values[batch, top, left + 1], fx)
        return torch.lerp(upper, torch.lerp(values[batch, top + 1, left], values[batch, top + 1, left + 1], fx), fy)

    depth = (moved[inside, 2, 0] * bilinear(1 / scene.depth1.clamp(min=1e-6)) - 1).abs()
    grey = (bilinear(scene.image1[:, 0]) - scene.image0[batch, 0, y[inside], x[inside]]).abs()
    return depth, grey


def test_crops_keep_images_depths_cameras_and_pose_together(made: RgbdSet) -> None:
    """On a plane all is known: warped greys and depths agree, whatever was cut out, shrunk and turned."""
    scene = made.batch(8, 64, torch.Generator().manual_seed(0))
    assert scene.image0.shape == (8, 1, 64, 64) and scene.depth0.shape == (8, 64, 64)
    assert all(part.dtype == torch.float32 and torch.isfinite(part).all() for part in scene)
    depth, grey = residual(scene)
    assert depth.median() < 1e-3  # millimetres were rounded
    assert grey.median() < 0.01 and grey.quantile(0.95) < 0.03
    shares = overlap(scene)
    assert shares.min() > 0.1 and shares.max() < 0.95


def test_a_plain_crop_has_the_depth_of_the_plane_at_every_pixel(made: RgbdSet) -> None:
    frame = _decode(made.sequences[0], 3)
    crop = Crop(59.5, 59.5, 120.0, 0.0)
    scene = cut((frame, frame), (crop, crop), 60)
    x, y = np.meshgrid(np.arange(60.0), np.arange(60.0))
    grey, depth = seen(4, ((x + 0.5) * 2 - 0.5, (y + 0.5) * 2 - 0.5))
    known = scene.depth0.numpy() > 0
    assert 0.8 < known.mean() < 0.99
    np.testing.assert_allclose(scene.depth0.numpy()[known], depth[known], rtol=1e-3)
    np.testing.assert_allclose(scene.image0[0].numpy()[2:-2, 2:-2], grey[2:-2, 2:-2], atol=0.01)
    np.testing.assert_allclose(scene.intrinsics0.numpy(), [[70, 0, 39.5], [0, 70, 29.5], [0, 0, 1]], atol=1e-4)


def test_depth_beside_an_edge_or_a_hole_is_unknown(tmp_path: Path) -> None:
    write_sequence(tmp_path / "plane", [0, 1])
    path = tmp_path / "plane" / "depth" / "0000.png"
    depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    depth[:, 50:] = depth[:, 50:] // 2
    cv2.imwrite(str(path), depth)
    inverse = _decode(load_rgbd(tmp_path).sequences[0], 0).inverse
    assert (inverse[:, 49:51] == 0).all() and (inverse[5:15, 47] > 0).all() and (inverse[5:15, 52] > 0).all()
    assert (inverse[19:31, 29:41] == 0).all() and inverse[25, 27] > 0


def test_frames_too_far_apart_are_never_paired(made: RgbdSet) -> None:
    """The folder has no gap limit of its own, so 3 holds: of 0, 1, 2, 4, 6, 9 the last one pairs with 6 alone."""
    generator = torch.Generator().manual_seed(1)
    pairs = set()
    for _ in range(200):
        found = [round(frame.pose[0, 3] / 0.05) for frame in made._frames(generator, 1.0)]
        pairs.add(tuple(sorted(found)))
    assert pairs == {(0, 1), (0, 2), (1, 2), (1, 4), (2, 4), (4, 6), (6, 9)}


def test_wrong_poses_are_noticed(tmp_path: Path) -> None:
    lifted = pose_of(1)
    lifted[2, 3] += 0.3
    write_sequence(tmp_path / "plane", [0, 1, 2], {1: lifted})
    sequence = load_rgbd(tmp_path).sequences[0]
    frames = [_decode(sequence, k) for k in range(3)]
    assert agreement(frames[0], frames[2]) > 0.95
    assert agreement(frames[0], frames[1]) < AGREEMENT


def test_a_seed_decides_everything(made: RgbdSet) -> None:
    first, again, other = (made.batch(2, 48, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.image0, other.image0)


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(AstrError, match=r"contains no \*/frames\.json"):
        load_rgbd(tmp_path)
    write_sequence(tmp_path / "plane", [0, 1])
    (tmp_path / "plane" / "depth" / "0001.png").write_bytes(b"nothing")
    with pytest.raises(AstrError, match="plane, frame 1: its image or depth is damaged"):
        load_rgbd(tmp_path).batch(1, 48, torch.Generator().manual_seed(0))
    (tmp_path / "plane" / "depth" / "0001.png").unlink()
    with pytest.raises(AstrError, match=r"0001\.png: cannot be read"):
        load_rgbd(tmp_path)
    (tmp_path / "plane" / "frames.json").write_text('{"frames": {"0": 1}}')
    with pytest.raises(AstrError, match="not the index of an RGB-D sequence"):
        load_rgbd(tmp_path)


def test_the_mix_makes_batches_of_them_and_says_that_labels_are_coarse(made: RgbdSet) -> None:
    photos = PhotoSet((np.zeros((64, 64), np.uint8),))
    mix = SceneMix(2, 64, SceneShares(planes=0, relief=0, rooms=0, facades=0, rgbd=1), difficulty=0.5)
    kind, scene = mixed_scene(photos, {"rgbd": made}, mix, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert kind == "rgbd" and kind not in SUBPIXEL
    assert scene.image0.shape == (2, 1, 64, 64) and len(supervise(scene).batch) > 20


@pytest.mark.skipif(not REAL.is_dir(), reason="the recordings of shared/data are not here")
def test_real_recordings_give_pairs_whose_depths_agree() -> None:
    sequences = load_rgbd(REAL)
    scene = sequences.batch(12, 96, torch.Generator().manual_seed(0))
    shares = overlap(scene)
    assert shares.min() > 0.08 and shares.max() < 0.95
    depth, _ = residual(scene)
    assert depth.median() < 0.01
