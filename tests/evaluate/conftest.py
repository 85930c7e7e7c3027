"""A folder with gt.json, made from rendered scenes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from astr_cli.scenes.geometry import ScenePair
from astr_cli.scenes.relief import render_relief
from astr_cli.scenes.textures import procedural_textures

SIZE = (288, 384)  # (H, W)


def to_uint8(image: torch.Tensor) -> np.ndarray:
    return np.round(image.numpy() * 255).astype(np.uint8)


def write_folder(root: Path, scene: ScenePair) -> Path:
    """Each rendered pair as two photos a{k}.png and b{k}.png; camera a{k} is the world frame of the pair."""
    (root / "images").mkdir(parents=True)
    images, pairs = {}, []
    for k in range(len(scene.image0)):
        views = (
            (f"a{k}.png", scene.image0[k, 0], scene.intrinsics0[k], torch.eye(4)),
            (f"b{k}.png", scene.image1[k, 0], scene.intrinsics1[k], scene.pose[k]),
        )
        for name, image, intrinsics, pose in views:
            cv2.imwrite(str(root / "images" / name), to_uint8(image))
            images[name] = {
                "K": intrinsics.tolist(),
                "R": pose[:3, :3].tolist(),
                "t": pose[:3, 3].tolist(),
                "size": [image.shape[1], image.shape[0]],
            }
        pairs.append(f"a{k}.png b{k}.png\n")
    (root / "gt.json").write_text(json.dumps({"type": "pose", "images": images}))
    (root / "pairs.txt").write_text("".join(pairs))
    return root


@pytest.fixture(scope="session")
def scene() -> ScenePair:
    """Four pairs of views with true depth and pose, rich in texture."""
    generator = torch.Generator().manual_seed(1)
    return render_relief(procedural_textures(4, (384, 512), generator), SIZE, generator)


@pytest.fixture
def pose_folder(tmp_path: Path, scene: ScenePair) -> Path:
    return write_folder(tmp_path / "scene", scene)
