"""`astr colmap-import`, from matches.h5 to a verified database."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.options.database import CameraOptions, ImportOptions, TrackOptions
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.database.sharing import check_camera_options
from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.store.cameras import CamerasError


def names(folder: Path) -> list[str]:
    """What lies in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_the_database_holds_the_tracks_half_a_pixel_on(workplace: Path, scene: Any) -> None:
    summary = import_matches(ImportOptions(workplace / "db.db"))
    tracks = build_tracks(scene.rows())
    with closing(pycolmap.Database.open(workplace / "db.db")) as database:
        for number, name in enumerate(scene.names):
            image = database.read_image_with_name(name)
            points = database.read_keypoints(image.image_id)
            assert (points[:, :2] == tracks.of_image(number) + np.float32(0.5)).all()
        assert database.num_frames() == database.num_rigs() == 6
        matched = database.num_matched_image_pairs()
    assert (summary.images, summary.cameras, summary.known_focals, summary.pairs) == (6, 6, 0, 15)
    assert matched == 15
    assert summary.tracks == len(tracks.lengths) == sum(summary.histogram)
    assert summary.verified.pairs == 15
    assert summary.verified.inliers >= 200 * 15
    # Photos of one size and without EXIF are most often of one camera.
    assert [warning.split(";")[0] for warning in summary.warnings] == [
        "no photo has a focal length in its EXIF, so each photo got its own camera"
    ]
    assert names(workplace) == ["db.db", "matches.h5", "photos"]


def test_no_geometry_is_undefined_and_match_indices_are_in_range(workplace: Path) -> None:
    import_matches(ImportOptions(workplace / "db.db"))
    assert {config for (config,) in query(workplace / "db.db", "SELECT config FROM two_view_geometries")} <= {2, 3, 4}
    rows = dict(query(workplace / "db.db", "SELECT image_id, rows FROM keypoints"))
    for table in ("matches", "two_view_geometries"):
        for pair, data in query(workplace / "db.db", f"SELECT pair_id, data FROM {table}"):
            indices = np.frombuffer(data, np.uint32).reshape(-1, 2)
            assert len(indices) >= 200
            assert (indices.max(0) < (rows[pair // 2147483647], rows[pair % 2147483647])).all()


def test_equal_input_gives_an_equal_database(workplace: Path) -> None:
    content = []
    for name in ("one.db", "two.db"):
        import_matches(ImportOptions(workplace / name))
        content.append(query(workplace / name, "SELECT pair_id, data, config FROM two_view_geometries ORDER BY 1"))
    assert content[0] == content[1]


def test_wrong_pairs_are_not_verified(workplace: Path, scene: Any) -> None:
    """A matcher that finds 300 matches in photos of different things: COLMAP's own 15 inliers would let them pass."""
    random = np.random.default_rng(0)
    wrong = scene.matches[0]
    shuffled = type(wrong)(
        wrong.keypoints0, wrong.keypoints1[random.permutation(len(wrong))], wrong.scores, wrong.reference
    )
    other = type(scene)(scene.names, scene.cameras, scene.pairs, (shuffled, *scene.matches[1:]), scene.long_side)
    other.write(workplace / "matches.h5")
    summary = import_matches(ImportOptions(workplace / "db.db"))
    assert summary.verified.pairs == 14
    assert query(workplace / "db.db", "SELECT config, rows FROM two_view_geometries WHERE config < 2") == [(1, 0)]


def test_matches_and_photos_are_found(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = workplace / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(workplace)
    # In the current folder, the photos beside them.
    summary = import_matches(ImportOptions(elsewhere / "a.db"))
    assert (summary.matches, summary.images_root) == (Path("matches.h5"), Path("photos"))
    # Beside the database, the photos from the current folder.
    shutil.move(workplace / "matches.h5", elsewhere)
    summary = import_matches(ImportOptions(elsewhere / "b.db"))
    assert summary.matches == elsewhere / "matches.h5"
    assert summary.images_root == Path("photos")
    # As named.
    shutil.move(workplace / "photos", workplace / "moved")
    with pytest.raises(AstrError, match=r"a\.png is not in .*--images"):
        import_matches(ImportOptions(elsewhere / "c.db"))
    import_matches(ImportOptions(elsewhere / "c.db", (elsewhere / "matches.h5",), Path("moved")))
    (elsewhere / "matches.h5").unlink()
    with pytest.raises(AstrError, match="--matches"):
        import_matches(ImportOptions(elsewhere / "d.db"))
    assert not (elsewhere / "d.db").exists()


def test_photos_that_are_gone_or_changed(workplace: Path) -> None:
    Image.new("L", (100, 80)).save(workplace / "photos" / "z.png")
    with pytest.raises(AstrError, match="is 100x80, but was matched as 512x384"):
        import_matches(ImportOptions(workplace / "db.db"))
    (workplace / "photos" / "z.png").unlink()
    with pytest.raises(AstrError, match=r"z\.png: no such image"):
        import_matches(ImportOptions(workplace / "db.db"))
    assert names(workplace) == ["matches.h5", "photos"]


def test_a_rotated_photo_keeps_its_raw_size(workplace: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (512, 384), 128).save(workplace / "photos" / "a.png", exif=exif)
    import_matches(ImportOptions(workplace / "db.db"))
    assert query(workplace / "db.db", "SELECT DISTINCT width, height FROM cameras") == [(512, 384)]


@pytest.mark.parametrize(("mode", "cameras"), [("auto", 6), ("single", 1), ("per-folder", 2), ("per-image", 6)])
def test_camera_modes(mode: str, cameras: int, workplace: Path) -> None:
    summary = import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions(mode)))
    assert summary.cameras == cameras
    assert len(summary.warnings) == (mode == "auto")


def cameras_of(path: Path) -> dict[str, tuple[int, bytes, int]]:
    """Image name -> (camera model's number, parameters, whether the focal length is known)."""
    sql = "SELECT name, model, params, prior_focal_length FROM images JOIN cameras USING (camera_id)"
    return {name: (model, params, prior) for name, model, params, prior in query(path, sql)}


def test_camera_model_and_parameters(workplace: Path) -> None:
    options = CameraOptions("single", "PINHOLE", "480,481,256,192")
    summary = import_matches(ImportOptions(workplace / "db.db", cameras=options))
    assert (summary.cameras, summary.known_focals) == (1, 1)
    expected = (1, np.array([480, 481, 256, 192.0]).tobytes(), 1)
    assert set(cameras_of(workplace / "db.db").values()) == {expected}


def test_known_cameras_and_photos_without_one(workplace: Path, scene: Any) -> None:
    known = workplace / "cameras.txt"
    known.write_text(
        "1 PINHOLE 512 384 480 480 256 192\n2 SIMPLE_RADIAL 512 384 470.25 256 192 0.01\n"
        "# IMAGE 1 a.png\n# IMAGE 1 sub/é.png\n# IMAGE 2 b c.png\n",
        encoding="utf-8",
    )
    summary = import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions(cameras=str(known))))
    found = cameras_of(workplace / "db.db")
    assert found["a.png"] == found["sub/é.png"] == (1, np.array([480, 480, 256, 192.0]).tobytes(), 1)
    assert found["b c.png"] == (2, np.array([470.25, 256, 192, 0.01]).tobytes(), 1)
    assert found["z.png"][2] == 0
    assert (summary.images, summary.cameras, summary.known_focals) == (6, 5, 2)
    assert "no camera for 3 of 6 photos (for example sub/d.png)" in summary.warnings[0]


def test_one_camera_of_the_right_size_serves_all(workplace: Path) -> None:
    known = workplace / "cameras.txt"
    known.write_text("1 PINHOLE 512 384 480 480 256 192\n")
    summary = import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions(cameras=str(known))))
    assert (summary.cameras, summary.known_focals, summary.warnings) == (1, 1, ())
    known.write_text("1 PINHOLE 640 400 480 480 320 200\n")
    with pytest.raises(CamerasError, match="no camera for any"):
        import_matches(ImportOptions(workplace / "other.db", cameras=CameraOptions(cameras=str(known))))
    assert not (workplace / "other.db").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "double"}, "--camera-mode double: choose auto"),
        ({"model": "PIN"}, "--camera-model PIN: choose one of"),
        ({"model": "PINHOLE", "params": "1,2,3"}, "PINHOLE takes 4 parameters, found 3"),
        ({"params": "1,2,x,3"}, "give numbers"),
        ({"params": "-1,2,3,0"}, "focal length is not positive"),
    ],
)
def test_camera_options_that_make_no_sense(options: Any, message: str) -> None:
    with pytest.raises(AstrError, match=message):
        check_camera_options(CameraOptions(**options))


def test_a_chain_of_photos_is_warned_of(workplace: Path, scene: Any) -> None:
    other = type(scene)(scene.names, scene.cameras, scene.pairs[:1], scene.matches[:1], scene.long_side)
    other.write(workplace / "matches.h5")
    summary = import_matches(ImportOptions(workplace / "db.db"))
    assert summary.median_track == 2
    assert "only two images" in summary.warnings[0]


def test_nothing_above_the_minimal_score(workplace: Path) -> None:
    with pytest.raises(AstrError, match="no match has a score of 2 or more"):
        import_matches(ImportOptions(workplace / "db.db", tracks=TrackOptions(min_score=2.0)))


def test_the_command_says_what_to_do_next(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    assert run(["colmap-import", "db.db"]) == 0
    out, err = capfd.readouterr()
    assert "db.db: 6 images, 6 cameras (0 with known focal length)" in out
    assert "15 of 15 pairs verified" in out
    for step in (
        "colmap mapper",
        "pycolmap.incremental_mapping",
        "image_undistorter",
        "patch_match_stereo",
        "stereo_fusion",
    ):
        assert step in out
    assert "--image_path photos --output_path sparse" in out
    assert "building tracks" in err
    assert "E20" not in err and "I20" not in err  # COLMAP's log


def test_a_second_import_changes_nothing(workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.chdir(workplace)
    assert run(["colmap-import", "db.db", "--json"]) == 0
    summary = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (summary["event"], summary["images"], summary["verified"]["pairs"]) == ("imported", 6, 15)
    assert 0 < summary["two_view_share"] < 1
    before = (workplace / "db.db").read_bytes()
    assert run(["colmap-import", "db.db"]) == 0
    out, _ = capfd.readouterr()
    assert out.startswith("db.db: already contains this import; nothing was changed")
    assert "15 of 15 pairs verified" in out and "% of tracks span only two photos\n" in out
    assert "tracks by number of photos: 2: " in out
    assert (workplace / "db.db").read_bytes() == before


def test_fewer_keypoints_are_another_import(workplace: Path, scene: Any) -> None:
    import_matches(ImportOptions(workplace / "db.db"))
    fewer = import_matches(
        ImportOptions(workplace / "db.db", backup=False, tracks=TrackOptions(max_keypoints=200, min_track=3))
    )
    assert fewer.changed and fewer.keypoints <= 6 * 200 and fewer.histogram[2] == 0
    assert query(workplace / "db.db", "SELECT MAX(rows) FROM keypoints")[0][0] <= 200
    assert fewer.verified.pairs == 15
    assert not import_matches(
        ImportOptions(workplace / "db.db", tracks=TrackOptions(max_keypoints=200, min_track=3))
    ).changed
    with pytest.raises(AstrError, match="no track spans 7 images"):
        import_matches(ImportOptions(workplace / "db.db", tracks=TrackOptions(min_track=7)))


def test_long_verifications_tell_how_far_they_are(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astr_cli.sfm.database.verification.HEARD", 0.01)
    monkeypatch.setattr("astr_cli.matching.resources.progress.FIRST", 0.0)
    said: list[str] = []
    import_matches(ImportOptions(workplace / "db.db"), said.append)
    told = [line for line in said if line.startswith("verifying: ")]
    assert told and all(" of 15 pairs, " in line and " so far" in line for line in told)


SURVIVOR = """
import sys
from astr_cli.sfm.colmap import pycolmap
from PIL import Image
import numpy as np
Image.fromarray(np.arange(300 * 500, dtype=np.uint32).astype(np.uint8).reshape(300, 500)).save(sys.argv[1])
import zlib
assert len(zlib.compress(bytes(100000))) < 1000
"""


def test_pictures_can_be_written_after_pycolmap_was_loaded(tmp_path: Path) -> None:
    """pycolmap's own zlib must not get between Pillow and the system's (sfm/colmap.py)."""
    done = subprocess.run([sys.executable, "-c", SURVIVOR, str(tmp_path / "a.png")], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "a.png").size == (500, 300)
