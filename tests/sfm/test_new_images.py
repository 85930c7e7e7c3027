"""Cameras and images of a new database, from what astr reads of the photos: every format, and as COLMAP has it."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.images.catalogue import catalogue
from astr_cli.images.info import focal_note
from astr_cli.matching.run.events import Notice
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.matching import MatchOptions
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.colmap import add_images, pycolmap, read_model
from astr_cli.sfm.database.cameras import import_images
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.colours import colours_at
from astr_cli.sfm.mapping.mapper import map_database
from astr_cli.sfm.reconstruction import reconstruct as module

from .conftest import arc, make_scene
from .foreign_databases import files
from .test_reconstruct import stand_in

SIZE, FOCAL = (512, 384), 480
FILM, LENGTH = 0xA405, 0x920A


def exif_of(film: int | None = None, length: float | None = None, make: str = "", place: bool = False) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0131] = "Pillow writes no EXIF that has parts only"
    if make:
        exif[0x010F], exif[0x0110] = make, "X1"
    details = {FILM: film, LENGTH: length}
    exif.get_ifd(0x8769).update({tag: value for tag, value in details.items() if value is not None})
    if place:
        exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 9.0), 3: "W", 4: (7.0, 15.0, 3.5), 5: b"\0", 6: 88.5})
    return exif


def written(database: Path) -> dict[str, list[Any]]:
    """What a database says of each image, whatever the order in which it was written."""
    sql = (
        "SELECT images.name, cameras.model, width, height, params, prior_focal_length, (SELECT GROUP_CONCAT(name) FROM "
        "(SELECT name FROM images AS other WHERE other.camera_id = images.camera_id ORDER BY name)), "
        "rigs.ref_sensor_id = images.camera_id, frame_data.sensor_id = images.camera_id, rigs.ref_sensor_type, "
        "frame_data.sensor_type, pose_priors.corr_sensor_id = images.camera_id, corr_sensor_type, coordinate_system, "
        "position FROM images JOIN cameras USING (camera_id) JOIN frame_data ON frame_data.data_id = images.image_id "
        "JOIN frames USING (frame_id) JOIN rigs USING (rig_id) LEFT JOIN pose_priors ON corr_data_id = images.image_id "
        "ORDER BY images.name"
    )
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(sql).fetchall()
    return {
        name: [*rest[:3], np.frombuffer(rest[3]).round(6).tolist(), *rest[4:-1], _place(rest[-1])]
        for name, *rest in rows
    }


def _place(data: bytes | None) -> list[float] | None:
    return None if data is None else np.frombuffer(data).round(8).tolist()


@pytest.mark.parametrize("mode", ["auto", "single", "per-folder", "per-image"])
@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "PINHOLE", "OPENCV_FISHEYE", "FOV"])
def test_the_same_as_colmap_writes(tmp_path: Path, mode: str, model: str) -> None:
    """COLMAP's own reader is the plain twin. Photos of one camera whose EXIF lacks the 35-mm equivalent, or the camera,
    share one in astr only.
    """
    kinds = {
        "a.jpg": exif_of(28, make="Maker", place=True),
        "z/b.jpg": exif_of(28, make="Maker"),
        "z/c.jpg": exif_of(28, make="Other"),
        "d.jpg": exif_of(),
        "e.jpg": exif_of(length=7.0, make="Maker", place=True),
        "g.png": exif_of(28),
    }
    (tmp_path / "z").mkdir()
    for name, exif in kinds.items():
        Image.new("RGB", SIZE).save(tmp_path / name, exif=exif)
    options = CameraOptions(mode, model)
    for name in ("ours.db", "theirs.db"):
        pycolmap.Database.open(tmp_path / name).close()
    assert import_images(tmp_path / "ours.db", catalogue(tmp_path, kinds).infos, options) == []
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model = model
    camera_mode = getattr(pycolmap.CameraMode, mode.upper().replace("-", "_"))
    pycolmap.import_images(tmp_path / "theirs.db", tmp_path, camera_mode, sorted(kinds), reader)
    assert written(tmp_path / "ours.db") == written(tmp_path / "theirs.db")


def test_formats_that_colmap_cannot_read_are_imported_and_mapped(tmp_path: Path) -> None:
    """WebP, AVIF, JPEG 2000, GIF: sizes and focal lengths in the database, colours in the model."""
    names = ("a.webp", "b.avif", "c.jp2", "d.webp", "e.avif", "f.gif")
    scene = make_scene(names, arc(6, SIZE, FOCAL), list(itertools.combinations(range(6), 2)), 320, 9.0, coarse=300)
    (tmp_path / "photos").mkdir()
    for name in names:
        exif = {} if name.endswith(("jp2", "gif")) else {"exif": exif_of(36, place=True)}
        Image.new("RGB", SIZE, (200, 100, 50)).save(tmp_path / "photos" / name, **exif)
    scene.write(tmp_path / "matches.h5")
    summary = import_matches(ImportOptions(tmp_path / "db.db"))
    assert (summary.images, summary.cameras, summary.known_focals) == (6, 3, 1)
    assert "6 photos (for example a.webp): COLMAP's own programs do not read WEBP" in summary.warnings[-1]
    model = map_database(tmp_path / "db.db", tmp_path / "photos", tmp_path)
    assert model.missing == () and model.points >= 200
    colours = np.array([point.color for point in read_model(tmp_path / "0").points3D.values()], int)
    assert np.abs(colours - (200, 100, 50)).max() <= 6


def test_colours_at_points() -> None:
    pixels = np.zeros((3, 4, 3), np.uint8)
    pixels[1, 2] = (100, 50, 20)
    points = np.array([[2, 1], [2.5, 1], [2, 0.75], [-5, 9], [3, 2]], float)
    expected = [[100, 50, 20], [50, 25, 10], [75, 37.5, 15], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(colours_at(pixels, points), expected)
    assert colours_at(pixels[:1, :1] + np.uint8(7), points[:1]).tolist() == [[7, 7, 7]]


@pytest.fixture
def matcher(scene: Any, monkeypatch: pytest.MonkeyPatch) -> list[MatchOptions]:
    """Puts the simulator in the place of the matching step; the options of every call."""
    calls: list[MatchOptions] = []
    monkeypatch.setattr(module, "match_pairs", stand_in(scene, calls))
    return calls


def test_one_camera_cannot_have_two_sizes(workplace: Path, matcher: list[MatchOptions], capfd: Any) -> None:
    """Case 07: known before matching."""
    Image.new("L", (384, 512)).save(workplace / "photos" / "z.png")
    before = files(workplace)
    command = ["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out"), "--camera-mode"]
    assert run([*command, "single"]) == 2
    said = capfd.readouterr().err
    assert "--camera-mode single: z.png is 384x512, but a.png is 512x384" in said and "use --camera-mode auto" in said
    assert said.count("\n") == 1 and not matcher and files(workplace) == before
    Image.new("L", (384, 512)).save(workplace / "photos" / "sub" / "é.png")
    assert run([*command, "per-folder"]) == 2
    assert "z.png is 384x512" in capfd.readouterr().err and not matcher
    # Photos that no pair has get no camera.
    Image.new("L", SIZE).save(workplace / "photos" / "sub" / "é.png")
    pairs = [(a, b) for a, b in itertools.combinations(("a.png", "b c.png", "y.png"), 2)]
    (workplace / "some.txt").write_text("".join(f'"{a}" "{b}"\n' for a, b in pairs))
    run([*command, "single", "--pairs", str(workplace / "some.txt")])
    assert matcher


def test_the_import_refuses_it_too(workplace: Path, scene: Any, capfd: Any) -> None:
    names, cameras = scene.names[:3], [*arc(6, SIZE, FOCAL)[:2], arc(6, SIZE[::-1], FOCAL)[2]]
    odd = make_scene(names, cameras, [(0, 1), (0, 2), (1, 2)], 320, 9.0, coarse=300)
    odd.write_photos(workplace / "photos")
    odd.write(workplace / "matches.h5")
    command = ["colmap-import", str(workplace / "db.db"), "--camera-mode", "single"]
    assert run(command) == 2
    said = capfd.readouterr().err
    assert "sub/d.png is 384x512, but a.png is 512x384" in said and "building tracks" not in said
    assert not (workplace / "db.db").exists()


def test_what_matching_told_is_not_told_again(workplace: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in scene.names:
        Image.new("L", SIZE, 128).save(workplace / "photos" / name, "JPEG", exif=exif_of(1))
    note = focal_note(catalogue(workplace / "photos", scene.names).infos.values())
    matching = stand_in(scene, [])

    def match(options: MatchOptions, listener: Any) -> Any:
        listener(Notice(note))
        return matching(options, listener)

    monkeypatch.setattr(module, "match_pairs", match)
    heard: list[Any] = []
    options = ReconstructOptions(workplace / "photos", workplace / "out", cameras=CameraOptions("single"))
    summary = module.reconstruct(options, heard.append)
    assert heard == [Notice(note)] and note not in summary.database.warnings


@pytest.mark.parametrize("film", [1, 65535])
def test_a_focal_length_that_cannot_be_is_unknown_and_told(
    workplace: Path, scene: Any, matcher: list[MatchOptions], film: int, capfd: Any
) -> None:
    """Case 12."""
    for name in scene.names:
        Image.new("L", SIZE, 128).save(workplace / "photos" / name, "JPEG", exif=exif_of(film))
    command = ["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out"), "--camera-mode", "single"]
    assert run(command) == 0
    said = capfd.readouterr()
    assert "6 of 6 photos registered" in said.out and "initial guess 614 px" in said.out
    assert "a.png (and 5 more photos): EXIF gives a focal length of" in said.err and "cannot be" in said.err


def test_normalised_intrinsics_are_unknown_and_told(
    workplace: Path, scene: Any, matcher: list[MatchOptions], capfd: Any
) -> None:
    """Case 12."""
    (workplace / "cameras.txt").write_text("1 PINHOLE 512 384 0.9 0.9 0.5 0.38\n")
    command = ["reconstruct", str(workplace / "photos"), "--out", str(workplace / "out"), "--camera-mode", "single"]
    assert run([*command, "--cameras", str(workplace / "cameras.txt")]) == 0
    said = capfd.readouterr()
    assert "6 of 6 photos registered" in said.out
    assert "camera 1: a focal length of 0.9 pixels cannot be for photos of 512x384" in said.err


def test_cameras_of_photos_made_smaller_are_scaled(workplace: Path, scene: Any) -> None:
    (workplace / "cameras.txt").write_text("1 PINHOLE 2048 1536 1920 1920 1024 768\n")
    options = ImportOptions(workplace / "db.db", cameras=CameraOptions(cameras=str(workplace / "cameras.txt")))
    summary = import_matches(options)
    assert (summary.cameras, summary.known_focals) == (1, 1) and "astr scales it" in summary.warnings[0]
    with pycolmap.Database.open(workplace / "db.db") as database:
        assert database.read_all_cameras()[0].params.tolist() == [480, 480, 256, 192]


def test_nothing_to_add(tmp_path: Path) -> None:
    pycolmap.Database.open(tmp_path / "db.db").close()
    add_images(tmp_path / "db.db", [], [], {})


def test_masks_within_the_photos_are_no_photos(
    workplace: Path, scene: Any, matcher: list[MatchOptions], capfd: Any
) -> None:
    """Case 05: in a folder of their own, whatever they are called, and beside the photos by COLMAP's name."""
    masks = workplace / "photos" / "masks"
    for name in scene.names:
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", SIZE, 255).save(masks / name)
    Image.new("L", SIZE, 255).save(workplace / "photos" / "a.png.png")
    command = ["reconstruct", str(workplace / "photos"), "--masks", str(masks), "--out", str(workplace / "out")]
    assert run([*command, "--camera-mode", "single"]) == 0
    said = capfd.readouterr()
    assert "6 of 6 photos registered" in said.out and "not registered" not in said.err
    listed = (workplace / "out" / "pairs.txt").read_text(encoding="utf-8")
    assert len(listed.splitlines()) == 16
    assert "masks" not in listed and "a.png.png" not in listed
