"""`astr colmap-import --poses`: known cameras verify the pairs, and are made ready to triangulate from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from astr_cli.cli.app import run
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.database.known_poses import KnownPosesError
from astr_cli.sfm.mapping.colmap_mappers import MapperSettings, triangulate

from .foreign_databases import files, foreign, query


def write_truth(folder: Path, scene: Any, images: int = 6, focal: float = 480.0) -> Path:
    """The true cameras as a COLMAP model, numbered otherwise than any database numbers them."""
    folder.mkdir()
    lines = []
    for number, camera in enumerate(scene.cameras[:images]):
        x, y, z, w = Rotation.from_matrix(camera.R).as_quat()
        lines += [f"{90 - number} {w} {x} {y} {z} {camera.t[0]} {camera.t[1]} {camera.t[2]} 7 {number}", ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "cameras.txt").write_text(f"7 SIMPLE_RADIAL 512 384 {focal} 256 192 0\n", encoding="utf-8")
    (folder / "points3D.txt").write_text("", encoding="utf-8")
    model = read_model(folder)
    for path in list(folder.iterdir()):
        path.unlink()
    for image in model.images.values():  # the text form holds no name with a blank
        image.name = scene.names[int(image.name)]
    model.write(folder)
    return folder


def test_known_poses_verify_and_are_ready_to_triangulate(workplace: Path, scene: Any) -> None:
    poses = write_truth(workplace / "truth", scene)
    summary = import_matches(ImportOptions(workplace / "db.db", poses=poses))
    assert (summary.verified.pairs, summary.cameras, summary.known_focals) == (15, 1, 1)
    assert summary.verified.inliers >= 200 * 15
    assert summary.posed == workplace / "db-posed"
    assert files(workplace) == ["db-posed", "db.db", "matches.h5", "photos", "truth"]
    posed = read_model(summary.posed)
    assert {image.name: number for number, image in posed.images.items()} == dict(
        query(workplace / "db.db", "SELECT name, image_id FROM images")
    )
    (workplace / "out").mkdir()
    model = triangulate(posed, workplace / "db.db", workplace / "photos", workplace / "out", MapperSettings())
    assert model.num_points3D() >= 500 and model.compute_mean_reprojection_error() < 1
    for image in model.images.values():
        truth = scene.cameras[scene.names.index(image.name)]
        assert np.abs(image.projection_center() - truth.centre).max() < 1e-6
    # The same again changes nothing; a posed model that is gone comes back.
    content = (workplace / "db.db").read_bytes()
    (workplace / "db-posed" / "images.bin").unlink()
    for path in (workplace / "db-posed").iterdir():
        path.unlink()
    (workplace / "db-posed").rmdir()
    again = import_matches(ImportOptions(workplace / "db.db", poses=poses))
    assert not again.changed and again.posed is not None and read_model(again.posed).num_reg_images() == 6
    assert (workplace / "db.db").read_bytes() == content


def test_wrong_pairs_do_not_pass_by_poses(workplace: Path, scene: Any) -> None:
    """A sound geometry, as look-alikes have, but not the one of the cameras."""
    found = dict(zip(scene.pairs, scene.matches, strict=True))
    pair = found[0, 5]
    inside = pair.keypoints1[:, 1] < 300
    columns = (pair.keypoints0, pair.keypoints1 + np.float32([0, 60]), pair.scores, pair.reference)
    found[0, 5] = type(pair)(*(column[inside] for column in columns))
    assert len(found[0, 5]) >= 200
    other = type(scene)(scene.names, scene.cameras, scene.pairs, tuple(found.values()), scene.long_side)
    other.write(workplace / "matches.h5")
    assert import_matches(ImportOptions(workplace / "plain.db", cameras=CameraOptions("single"))).verified.pairs == 15
    poses = write_truth(workplace / "truth", scene)
    assert import_matches(ImportOptions(workplace / "posed.db", poses=poses)).verified.pairs == 14


def test_a_database_keeps_its_own_cameras(workplace: Path, scene: Any) -> None:
    path = foreign(workplace, scene)
    before = query(path, "SELECT * FROM cameras")
    poses = write_truth(workplace / "truth", scene)
    summary = import_matches(ImportOptions(path, poses=poses, backup=False))
    assert summary.verified.pairs == 15
    assert query(path, "SELECT * FROM cameras") == before
    assert query(path, "SELECT name FROM sqlite_master WHERE name = 'astr_cameras'") == []
    camera = read_model(workplace / "sift-posed").cameras[1]
    assert camera.params[0] == 480
    # By RANSAC again is another verification of the same matches.
    matches = query(path, "SELECT * FROM matches")
    summary = import_matches(ImportOptions(path, backup=False))
    assert summary.changed and summary.difference.to_verify == 15
    assert query(path, "SELECT * FROM matches") == matches


def test_poses_of_some(workplace: Path, scene: Any) -> None:
    poses = write_truth(workplace / "truth", scene, images=4)
    summary = import_matches(ImportOptions(workplace / "db.db", poses=poses, cameras=CameraOptions("single")))
    assert "has poses for 4 of 6 photos" in summary.warnings[-1]
    assert summary.verified.pairs == 15
    assert summary.posed is not None and read_model(summary.posed).num_reg_images() == 4


def test_poses_that_do_not_fit(workplace: Path, scene: Any, capfd: Any) -> None:
    with pytest.raises(KnownPosesError, match=r"has poses for 1 of the 6 images \(it has a\.png\)"):
        import_matches(ImportOptions(workplace / "db.db", poses=write_truth(workplace / "one", scene, images=1)))
    assert run(["colmap-import", str(workplace / "db.db"), "--poses", str(workplace / "photos")]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    path = foreign(workplace, scene)
    content = path.read_bytes()
    camera = pycolmap.Camera(camera_id=1, model="PINHOLE", width=512, height=384, params=[480, 480, 256, 192])
    database = pycolmap.Database.open(path)
    database.update_camera(camera)
    database.close()
    changed = path.read_bytes()
    with pytest.raises(KnownPosesError, match=r"SIMPLE_RADIAL 512x384, but .*sift\.db has PINHOLE 512x384"):
        import_matches(ImportOptions(path, poses=write_truth(workplace / "truth", scene)))
    assert path.read_bytes() == changed != content
    assert not (workplace / "sift-posed").exists()


def test_what_lies_where_the_posed_model_goes_is_not_removed(workplace: Path, scene: Any) -> None:
    (workplace / "db-posed").mkdir()
    (workplace / "db-posed" / "diary.txt").write_text("dear diary")
    with pytest.raises(KnownPosesError, match="contains files that are not a COLMAP model"):
        import_matches(ImportOptions(workplace / "db.db", poses=write_truth(workplace / "truth", scene)))
    assert files(workplace / "db-posed") == ["diary.txt"]
