"""`--rig-config`: cameras that are fixed to each other keep their relative poses in all frames of a model."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from astr_cli.cli.app import run
from astr_cli.options.database import CameraOptions
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.database.rigs import RigError, check_rigs, read_rigs
from astr_cli.sfm.reconstruction import reconstruct as reconstruct_module

from .conftest import Camera, Scene, arc, make_scene
from .extending import stand_in

FRAMES = 4
ROTATION, TRANSLATION = Rotation.from_euler("y", 5, degrees=True), np.array([-0.7, 0.05, 0.1])
LEFT = {"image_prefix": "left/", "ref_sensor": True}
RIGHT = {"image_prefix": "right/"}
POSE = {
    "cam_from_rig_rotation": ROTATION.as_quat()[[3, 0, 1, 2]].tolist(),
    "cam_from_rig_translation": TRANSLATION.tolist(),
}


@pytest.fixture(scope="module")
def rig() -> Scene:
    """Two cameras fixed to each other, left/ and right/, at four places."""
    left = arc(FRAMES, (512, 384), 480)
    turn = ROTATION.as_matrix()
    right = [Camera(camera.K, turn @ camera.R, turn @ camera.t + TRANSLATION, camera.size) for camera in left]
    names = [f"{folder}/{number}.png" for folder in ("left", "right") for number in range(FRAMES)]
    return make_scene(
        names,
        [*left, *right],
        list(itertools.combinations(range(2 * FRAMES), 2)),
        *(320, 9.0),
        coarse=150,
        outliers=0.05,
    )


@pytest.fixture
def folder(rig: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rig.write_photos(tmp_path / "photos")
    monkeypatch.setattr(reconstruct_module, "match_pairs", stand_in(rig, []))
    return tmp_path


def reconstruct(folder: Path, out: str, *more: str) -> int:
    return run(["reconstruct", str(folder / "photos"), "--out", str(folder / out), "--long-side", "320", *OFF, *more])


OFF = ("--no-report", "--refine", "off")


def between(model: Path) -> list[np.ndarray]:
    """The pose of the right camera in the left one, (3, 4), for every frame."""
    found = read_model(model)
    pairs = [[found.find_image_with_name(f"{side}/{n}.png") for side in ("left", "right")] for n in range(FRAMES)]
    return [(right.cam_from_world() * left.cam_from_world().inverse()).matrix() for left, right in pairs]


def configured(folder: Path, *cameras: dict[str, Any]) -> str:
    (folder / "rig.json").write_text(json.dumps([{"cameras": cameras}]), encoding="utf-8")
    return str(folder / "rig.json")


def test_relative_poses_are_equal_in_all_frames(folder: Path, capfd: Any) -> None:
    """With known poses in metres; and from a model without rigs, whose frames differ."""
    assert reconstruct(folder, "known", "--rig-config", configured(folder, LEFT, {**RIGHT, **POSE})) == 0
    poses = between(folder / "known" / "sparse" / "0")
    for pose in poses:
        assert np.allclose(pose, poses[0], atol=1e-9)
        assert np.allclose(pose[:, 3], TRANSLATION, atol=0.02)
        assert np.allclose(pose[:, :3], ROTATION.as_matrix(), atol=0.002)
    model = read_model(folder / "known" / "sparse" / "0")
    assert (model.num_reg_images(), model.num_reg_frames(), model.num_rigs(), model.num_cameras()) == (8, 4, 1, 2)
    assert read_existing(folder / "known" / "database.db").notes["rigs"] != "off"
    assert run(["check", str(folder / "known" / "database.db")]) == 0

    assert reconstruct(folder, "free", "--camera-mode", "per-folder") == 0
    free = between(folder / "free" / "sparse" / "0")
    assert max(np.abs(pose - free[0]).max() for pose in free) > 1e-4
    config, first = configured(folder, LEFT, RIGHT), str(folder / "free" / "sparse" / "0")
    assert reconstruct(folder, "derived", "--rig-config", config, "--rig-model", first) == 0
    poses = between(folder / "derived" / "sparse" / "0")
    assert all(np.allclose(pose, poses[0], atol=1e-9) for pose in poses)
    assert np.allclose(poses[0][:, :3], ROTATION.as_matrix(), atol=0.01)

    capfd.readouterr()
    assert run(["extend", str(folder / "derived"), "--remove", "left/0.png"]) == 2
    assert "in one frame of a rig with right/0.png; remove all photos of the frame" in capfd.readouterr().err
    both = [part for side in ("left", "right") for part in ("--remove", f"{side}/0.png")]
    assert run(["extend", str(folder / "derived"), *both]) == 0
    assert read_model(folder / "derived" / "sparse" / "0").num_reg_images() == 6
    assert run(["extend", str(folder / "derived"), str(folder / "photos")]) == 2
    assert "has rigs, which astr extend cannot fill; run astr reconstruct again" in capfd.readouterr().err


def test_an_import_writes_the_rigs_once(rig: Scene, folder: Path, capfd: Any) -> None:
    rig.write(folder / "matches.h5")
    command = ["colmap-import", str(folder / "database.db"), "--images", str(folder / "photos"), "--refine", "off"]
    config = configured(folder, LEFT, {**RIGHT, **POSE})
    assert run([*command, "--rig-config", config]) == 0
    before = (folder / "database.db").read_bytes()
    assert run([*command, "--rig-config", config]) == 0
    assert (folder / "database.db").read_bytes() == before
    configured(folder, LEFT, {**RIGHT, **POSE, "cam_from_rig_translation": [-0.6, 0, 0]})
    capfd.readouterr()
    assert run([*command, "--rig-config", config]) == 2
    assert "rigs need a new database; use --mode create, or leave out --rig-config" in capfd.readouterr().err
    assert run([*command, "--rig-config", config, "--mode", "create", "--camera-mode", "single"]) == 2
    assert 'the photos of "right/" need one camera that no others have; use a folder' in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "is no JSON"),
        ("{}", "holds no rigs"),
        ('[{"cams": 1}]', "rig 1 has no list of cameras"),
        ('[{"cameras": [{"ref_sensor": true}]}]', 'rig 1, camera 1 has no "image_prefix"'),
        ('[{"cameras": [{"image_prefix": "left/"}]}]', '"ref_sensor": true at exactly one'),
        (
            '[{"cameras": [{"image_prefix": "left/", "ref_sensor": true, "cam_from_rig_rotation": [1, 0, 0]}]}]',
            "is a list of 4 numbers",
        ),
        (
            '[{"cameras": [{"image_prefix": "left/", "ref_sensor": true, "cam_from_rig_translation": [1, 0, 0]}]}]',
            "has cam_from_rig_translation alone",
        ),
    ],
)
def test_what_a_file_lacks_is_said(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rig.json").write_text(content)
    with pytest.raises(RigError) as raised:
        read_rigs(tmp_path / "rig.json")
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_rigs_that_do_not_fit_the_photos(folder: Path, capfd: Any) -> None:
    """Before anything is matched or written."""
    assert reconstruct(folder, "out", "--rig-config", str(folder / "none.json")) == 2
    assert "none.json: cannot be read (No such file or directory)" in capfd.readouterr().err
    config = configured(folder, LEFT, {**RIGHT, **POSE, "image_prefix": "rechts/"})
    assert reconstruct(folder, "out", "--rig-config", config) == 2
    assert 'no photo begins with "rechts/"; photos are called, for example, left/0.png' in capfd.readouterr().err
    config = configured(folder, LEFT, RIGHT)
    assert reconstruct(folder, "out", "--rig-config", config) == 2
    assert "reconstruct without --rig-config first and give that model with --rig-model" in capfd.readouterr().err
    assert reconstruct(folder, "out", "--rig-config", config, "--rig-model", str(folder / "none")) == 2
    assert "is no folder with a COLMAP model" in capfd.readouterr().err
    assert reconstruct(folder, "out", "--rig-model", str(folder)) == 2
    assert "--rig-model: needs --rig-config" in capfd.readouterr().err
    assert not (folder / "out").exists()
    options = CameraOptions(rig_config=Path(configured(folder, LEFT, {**RIGHT, **POSE})))
    (warning,) = check_rigs(options, ["left/1.png", "right/2.png"])
    assert "rig 1 has no frame of two photos" in warning
