"""Cameras from COLMAP's files: the same as pycolmap reads, in our pixel convention."""

import sqlite3
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astr_cli.store.camera_models import MODELS
from astr_cli.store.cameras import Camera, CamerasError, read_cameras

CAMERAS = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
1 PINHOLE 1536 1024 1380.5 1381.5 760.5 507.5
7 SIMPLE_RADIAL 640 480 600 320 240 -0.1
"""
IMAGES = """# Image list with two lines of data per image:
1 1 0 0 0 0 0 0 1 cam 1/a.jpg
10.5 20.5 -1 30 40 5
2 1 0 0 0 0 0 0 7 b.jpg

3 1 0 0 0 0 0 0 1 c.jpg
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_cameras_txt_alone_serves_by_size(tmp_path: Path) -> None:
    book = read_cameras(write(tmp_path / "cameras.txt", CAMERAS))
    camera = book.for_image("any.jpg", 1536, 1024)
    assert camera == Camera("PINHOLE", 1536, 1024, (1380.5, 1381.5, 760.5, 507.5), 1)
    np.testing.assert_array_equal(camera.matrix(), [[1380.5, 0, 760], [0, 1381.5, 507], [0, 0, 1]])
    assert book.for_image("any.jpg", 640, 480) == Camera("SIMPLE_RADIAL", 640, 480, (600, 320, 240, -0.1), 7)
    np.testing.assert_array_equal(
        book.for_image("any.jpg", 640, 480).matrix(), [[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]]
    )
    assert book.for_image("any.jpg", 480, 640) is None


def test_two_cameras_of_one_size_are_ambiguous_unless_the_photos_are_named(tmp_path: Path) -> None:
    text = CAMERAS.replace("640 480", "1536 1024")
    book = read_cameras(write(tmp_path / "cameras.txt", text))
    with pytest.raises(CamerasError, match=r"cameras 1 and 7 are both 1536x1024; .*'# IMAGE CAMERA_ID a\.jpg'"):
        book.for_image("a.jpg", 1536, 1024)
    named = read_cameras(write(tmp_path / "cameras.txt", text + "# IMAGE 7 cam 1/a.jpg\n# IMAGE 1 b.jpg\n"))
    found = [named.for_image(name, 1536, 1024) for name in ("cam 1/a.jpg", "b.jpg", "c.jpg")]
    assert [camera and camera.camera_id for camera in found] == [7, 1, None]


def test_colmap_skips_our_comment_lines(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    write(tmp_path / "cameras.txt", CAMERAS + "# IMAGE 7 b.jpg\n")
    write(tmp_path / "images.txt", IMAGES)
    write(tmp_path / "points3D.txt", "")
    assert sorted(pycolmap.Reconstruction(str(tmp_path)).cameras) == [1, 7]


def test_images_txt_beside_it_names_the_photos(tmp_path: Path) -> None:
    write(tmp_path / "images.txt", IMAGES)
    path = write(tmp_path / "cameras.txt", CAMERAS)
    for book in (read_cameras(path), read_cameras(tmp_path)):
        assert book.names == {"cam 1/a.jpg": 1, "b.jpg": 7, "c.jpg": 1}
        assert book.for_image("new.jpg", 640, 480) is None
        assert book.for_image("b.jpg", 1280, 960).camera_id == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no camera"),
        ("# nothing\n", "holds no camera"),
        ("1 PINHOLE 640 480 1 2 3", r"cameras\.txt:1: PINHOLE takes 4 parameters, found 3"),
        ("# x\n\n1 PINHOL 640 480 1 2 3 4", r"cameras\.txt:3: unknown camera model PINHOL; choose one of SIMPLE_"),
        ("1 PINHOLE 640", r"cameras\.txt:1: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS"),
        ("1 PINHOLE 640 480 a 2 3 4", r"cameras\.txt:1: expected CAMERA_ID"),
        ("1 PINHOLE 640 480 nan 2 3 4", "not finite"),
        ("1 PINHOLE 640 480 -500 500 3 4", "focal length is not positive"),
        ("1 PINHOLE 0 480 500 500 3 4", "size 0x480 is not positive"),
        ("1 SIMPLE_PINHOLE 6 4 5 3 2\n1 SIMPLE_PINHOLE 7 4 5 3 2", "two cameras have the number 1"),
        ("1 SIMPLE_PINHOLE 6 4 5 3 2\n# IMAGE 2 a.jpg", r"a\.jpg refers to camera 2, which is missing; add it"),
    ],
)
def test_bad_cameras_txt(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CamerasError, match=message) as caught:
        read_cameras(write(tmp_path / "cameras.txt", text))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_other_bad_places(tmp_path: Path) -> None:
    with pytest.raises(CamerasError, match="no such file or folder"):
        read_cameras(tmp_path / "gone")
    with pytest.raises(CamerasError, match="not a COLMAP model"):
        read_cameras(tmp_path)
    (tmp_path / "0").mkdir()
    write(tmp_path / "0" / "cameras.txt", CAMERAS)
    with pytest.raises(CamerasError, match=r"did you mean .*0\?"):
        read_cameras(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"# \xe9\n")
    with pytest.raises(CamerasError, match="not UTF-8"):
        read_cameras(tmp_path / "latin.txt")
    write(tmp_path / "images.txt", "1 2 3\n")
    with pytest.raises(CamerasError, match=r"images\.txt:1: expected IMAGE_ID"):
        read_cameras(write(tmp_path / "cameras.txt", CAMERAS))


def test_the_table_of_models_is_colmaps() -> None:
    pycolmap = pytest.importorskip("pycolmap")
    for name, model in MODELS.items():
        number = getattr(pycolmap.CameraModelId, name, None)
        if number is None:
            continue  # an older COLMAP
        camera = pycolmap.Camera(
            model=name, width=200, height=100, params=[float(i) for i in range(1, model.params + 1)]
        )
        assert int(number) == model.number
        assert list(camera.focal_length_idxs()) == list(range(model.focals))
        if model.focals:
            assert list(camera.principal_point_idxs()) == [model.focals, model.focals + 1]
            ours = Camera(name, 200, 100, tuple(camera.params)).matrix()
            theirs = camera.calibration_matrix()
            theirs[:2, 2] -= 0.5
            np.testing.assert_array_equal(ours, theirs)
    known = {name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"}
    assert known <= set(MODELS)


def test_a_panorama_has_no_matrix() -> None:
    assert Camera("EQUIRECTANGULAR", 200, 100, (200.0, 100.0)).matrix() is None


def test_models_written_by_colmap(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    model = pycolmap.Reconstruction()
    for number, (name, width, params) in enumerate(
        [
            ("PINHOLE", 1536, [1380.1, 1381.2, 760.3, 507.4]),
            ("OPENCV", 640, [500, 501, 320, 240, 0.1, 0.01, 0.001, 0.002]),
        ],
        1,
    ):
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(camera_id=number, model=name, width=width, height=480, params=params)
        )
    for number, (name, camera) in enumerate([("cam 1/é.jpg", 1), ("b.jpg", 2), ("c.jpg", 1)], 1):
        image = pycolmap.Image(name=name, camera_id=camera, image_id=number)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(np.array([1.0, 2.0]))] * number)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
    books = []
    for kind in ("binary", "text"):
        (tmp_path / kind).mkdir()
        getattr(model, f"write_{kind}")(str(tmp_path / kind))
        books.append(read_cameras(tmp_path / kind))
    books.append(read_cameras(tmp_path / "binary" / "cameras.bin"))
    for book in books:
        assert book.names == {"cam 1/é.jpg": 1, "b.jpg": 2, "c.jpg": 1}
        assert book.cameras == books[0].cameras
        assert book.cameras[2] == Camera("OPENCV", 640, 480, (500, 501, 320, 240, 0.1, 0.01, 0.001, 0.002), 2)
        assert book.fingerprint == books[0].fingerprint
    for name in ("cameras.bin", "images.bin"):
        path = tmp_path / "binary" / name
        whole = path.read_bytes()
        for length in range(0, len(whole), 7):
            path.write_bytes(whole[:length])
            with pytest.raises(CamerasError, match="cut off"):
                read_cameras(tmp_path / "binary")
        path.write_bytes(whole)
    images = tmp_path / "binary" / "images.bin"
    whole = images.read_bytes()
    at = whole.index(b"jpg\0") + 4  # the number of points of the first image
    images.write_bytes(whole[:at] + b"\xff" * 8 + whole[at + 8 :])
    with pytest.raises(CamerasError, match="cut off"):
        read_cameras(tmp_path / "binary")


def test_a_database_written_by_colmap(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    path = tmp_path / "db #1.db"
    with pycolmap.Database.open(str(path)) as database:
        known = pycolmap.Camera(model="SIMPLE_RADIAL", width=640, height=480, params=[600, 320, 240, 0.1])
        known.has_prior_focal_length = True
        guess = pycolmap.Camera(model="PINHOLE", width=640, height=480, params=[768, 768, 320, 240])
        ids = [database.write_camera(camera) for camera in (known, guess)]
        for name, key in (("a.jpg", ids[0]), ("b.jpg", ids[1])):
            database.write_image(pycolmap.Image(name=name, camera_id=key))
    before = path.read_bytes()
    book = read_cameras(path)
    assert book.for_image("a.jpg", 640, 480) == Camera("SIMPLE_RADIAL", 640, 480, (600, 320, 240, 0.1), ids[0])
    assert book.for_image("b.jpg", 640, 480) is None  # its focal length is COLMAP's guess
    assert path.read_bytes() == before


def test_databases_that_are_not_colmaps(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE cameras (camera_id, model, width, height, params, prior_focal_length)")
    with pytest.raises(CamerasError, match="not a readable COLMAP database"):
        read_cameras(path)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE images (name, camera_id)")
        database.execute("INSERT INTO cameras VALUES (1, 99, 4, 3, ?, 1)", (struct.pack("<3d", 1, 2, 3),))
    with pytest.raises(CamerasError, match="unknown model number"):
        read_cameras(path)
    path.write_bytes(b"SQLite format 3\x00" + b"rubbish" * 100)
    with pytest.raises(CamerasError, match="not a readable COLMAP database"):
        read_cameras(path)


def test_the_fingerprint_follows_the_content(tmp_path: Path) -> None:
    first = read_cameras(write(tmp_path / "cameras.txt", CAMERAS)).fingerprint
    assert read_cameras(write(tmp_path / "other.txt", "# moved\n" + CAMERAS)).fingerprint == first
    assert read_cameras(write(tmp_path / "other.txt", CAMERAS.replace("1380.5", "1380.6"))).fingerprint != first
    assert read_cameras(write(tmp_path / "other.txt", CAMERAS + "# IMAGE 1 a.jpg")).fingerprint != first


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("1 23.-#eINAFPHOLE\n\tMG"), max_size=80))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "cameras.txt"
    try:
        read_cameras(write(path, text))
    except CamerasError as error:
        assert "\n" not in str(error)
