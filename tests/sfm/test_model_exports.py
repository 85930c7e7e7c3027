"""Models for other programs, read back by pycolmap, Pillow and the schema that nerfstudio documents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.mapping.intrinsics import calibration
from astr_cli.sfm.mapping.mapper import map_database

from .flights import fly


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ and sparse/0 with distortion."""
    folder = tmp_path_factory.mktemp("project")
    whole = fly("line", distortion=-0.1, points=2000)
    parts = {name: getattr(whole, name)[:4] for name in ("centres", "rotations", "gps")}
    flight = replace(whole, **parts)
    (folder / "photos").mkdir()
    flight.write_photos(folder / "photos")
    (folder / "sparse").mkdir()
    map_database(flight.write(folder / "db.db"), folder / "photos", folder / "sparse")
    assert calibration(folder / "db.db", "auto").known == {1}
    return folder


@pytest.mark.parametrize(
    ("form", "sparse"), [("undistorted", "sparse/0"), ("nerfstudio", "sparse/0"), ("openmvs", "sparse")]
)
def test_an_export_is_read_back(
    form: str, sparse: str, project: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = project
    out = tmp_path / "out"
    command = ["export", str(folder / "sparse" / "0"), "--format", form, "--out", str(out)]
    assert run([*command, "--images", str(folder / "photos")]) == 0
    assert "4 photos" in capfd.readouterr().out
    first, made = read_model(folder / "sparse" / "0"), read_model(out / sparse)
    assert made.num_reg_images() == 4 and made.num_points3D() == first.num_points3D() >= 200
    assert (out / "stereo" / "patch-match.cfg").exists() == (form == "openmvs")
    for image in made.images.values():
        with Image.open(out / "images" / image.name) as photo:
            photo.load()
            assert photo.size == (image.camera.width, image.camera.height)
        assert image.camera.model == pycolmap.CameraModelId.PINHOLE
        true = first.find_image_with_name(image.name).cam_from_world()
        assert np.allclose(image.cam_from_world().matrix(), true.matrix())
    if form == "nerfstudio":
        check_transforms(out, made)
        assert run([*command, "--images", str(folder / "photos")]) == 2  # what is there stays
        assert run([*command, "--images", str(folder / "photos"), "--overwrite"]) == 0


def test_photos_that_colmap_does_not_read_become_png(project: Path, tmp_path: Path) -> None:
    """Same poses and pixels as from photos that it reads, which stay as they are."""
    photos, model = tmp_path / "photos", read_model(project / "sparse" / "0")
    (tmp_path / "model").mkdir()
    (photos / "sub").mkdir(parents=True)
    names = {}
    for count, image in enumerate(sorted(model.images.values(), key=lambda image: image.name)):
        names[image.name] = f"sub/{count}.webp" if count % 2 else f"sub/{image.name}"
        with Image.open(project / "photos" / image.name) as photo:
            photo.save(photos / names[image.name], lossless=True)
        image.name = names[image.name]
    model.write(tmp_path / "model")
    for start, source, out in (
        (project / "sparse" / "0", project / "photos", "plain"),
        (tmp_path / "model", photos, "webp"),
    ):
        command = ["export", str(start), "--format", "undistorted", "--out", str(tmp_path / out)]
        assert run([*command, "--images", str(source)]) == 0
    plain, made = (read_model(tmp_path / out / "sparse" / "0") for out in ("plain", "webp"))
    for before, after in names.items():
        written = f"{after}.png" if after.endswith("webp") else after
        pose = plain.find_image_with_name(before).cam_from_world().matrix()
        assert np.allclose(made.find_image_with_name(written).cam_from_world().matrix(), pose)
        with (
            Image.open(tmp_path / "plain" / "images" / before) as a,
            Image.open(tmp_path / "webp" / "images" / written) as b,
        ):
            assert np.abs(np.asarray(a.convert("L")).astype(int) - np.asarray(b.convert("L"))).mean() < 2
    assert not list((tmp_path / "webp").glob(".photos-*"))


def test_a_distortion_of_zero_becomes_a_pinhole_camera(project: Path, tmp_path: Path) -> None:
    """COLMAP keeps the model of such cameras, but splatting takes nothing except pinhole cameras."""
    model = read_model(project / "sparse" / "0")
    for camera in model.cameras.values():
        camera.params = [*camera.params[:-1], 0.0]
    (tmp_path / "model").mkdir()
    model.write(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), "--format", "undistorted", "--out", str(tmp_path / "out")]
    assert run([*command, "--images", str(project / "photos")]) == 0
    made = read_model(tmp_path / "out" / "sparse" / "0")
    for number, camera in made.cameras.items():
        before = model.camera(number)
        assert camera.model == pycolmap.CameraModelId.PINHOLE
        assert np.array_equal(camera.calibration_matrix(), before.calibration_matrix())


def check_transforms(out: Path, made: pycolmap.Reconstruction) -> None:
    """As nerfstudio documents it: OpenGL's axes, camera to world, files relative to the folder."""
    record = json.loads((out / "transforms.json").read_text(encoding="utf-8"))
    assert record["camera_model"] == "OPENCV" and (out / record["ply_file_path"]).is_file()
    assert len(record["frames"]) == 4
    for frame in record["frames"]:
        assert set(frame) == {"file_path", "fl_x", "fl_y", "cx", "cy", "w", "h", "transform_matrix"}
        assert (out / frame["file_path"]).is_file()
        pose = np.array(frame["transform_matrix"])
        image = made.find_image_with_name(frame["file_path"].removeprefix("images/"))
        seen = image.get_observation_points2D()[0]
        x, y, z, _ = np.linalg.inv(pose) @ np.append(made.point3D(seen.point3D_id).xyz, 1)
        pixel = np.array([frame["fl_x"] * x / -z + frame["cx"], frame["fl_y"] * -y / -z + frame["cy"]])
        assert z < 0 and np.abs(pixel - seen.xy).max() < 4


def test_what_cannot_be_exported(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project
    model = str(folder / "sparse" / "0")
    for arguments, message in (
        ([model, "--format", "hloc"], "a model comes as one of undistorted, nerfstudio, openmvs"),
        ([str(folder / "photos"), "--format", "openmvs"], "is no model of COLMAP"),
        ([model, "--format", "openmvs"], "give them with --images"),
        ([model, "--format", "openmvs", "--images", str(tmp_path)], "no such photo; give the folder of the photos"),
    ):
        assert run(["export", *arguments, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
