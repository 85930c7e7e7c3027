"""The parts of `astr extend`: snapping beside its plain twin, options read back, a model that fits its database."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astr_cli.errors import AstrError
from astr_cli.options.config_file import config_text, stored_options
from astr_cli.options.database import CameraOptions, TrackOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.matching import MatchingOptions
from astr_cli.options.pairs import PairChoice
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.extension.growing import check_model, lengthened
from astr_cli.sfm.extension.shrinking import without
from astr_cli.sfm.extension.snapping import UNKNOWN, Existing, renumbered, snap
from astr_cli.sfm.tracks.build import Tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage


def tracks_of(points: np.ndarray, offsets: list[int]) -> Tracks:
    count = len(points)
    image = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)).astype(np.int32)
    track, empty = np.arange(count, dtype=np.int32), np.zeros(0, np.int32)
    columns = (points.astype(np.float32), np.ones(count, np.float32), np.array(offsets))
    return Tracks(image, track, *columns, empty, np.zeros(1, np.int64))


def known(xy: np.ndarray, *points: int) -> Existing:
    return Existing(xy, np.array(points or [UNKNOWN] * len(xy), np.int64))


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 40), st.floats(0.3, 3))
def test_snapping_is_that_of_its_plain_twin(seed: int, old: int, new: int, radius: float) -> None:
    random = np.random.default_rng(seed)
    images = (MatchedImage("a", (200, 100), (100, 50)), MatchedImage("b", (50, 50), (50, 50)))
    existing = (random.random((old, 2)) * 60).astype(np.float32)
    points = (random.random((new + 3, 2)) * 60).astype(np.float32)
    found = snap(tracks_of(points, [0, new, new + 3]), images, {"a": known(existing)}, radius)
    added = []
    for number, point in zip(found.numbers[:new], points[:new], strict=True):
        away = np.linalg.norm((existing.astype(float) - point) / 2, axis=1)
        if len(away) and away.min() < radius:
            assert away[number] == pytest.approx(away.min())
        else:
            assert number == old + len(added)
            added.append(point)
    assert np.array_equal(found.added[0], np.array(added, np.float32).reshape(-1, 2))
    assert found.numbers[new:].tolist() == [0, 1, 2] and np.array_equal(found.added[1], points[new:])


def test_a_track_becomes_keypoints_of_one_point() -> None:
    """It is nearest to point 8 in one photo, but near to point 7 in two; in the fourth it is near one of none."""
    images = tuple(MatchedImage(name, (50, 50), (50, 50)) for name in "abcd")
    tracks = tracks_of(np.full((4, 2), 10.0), [0, 1, 2, 3, 4])
    tracks.track[:] = 0
    beside, here = np.array([(10.5, 10), (10.1, 10)], np.float32), np.array([(10, 10)], np.float32)
    existing = {"a": known(beside, 7, 8), "b": known(beside[:1], 7), "c": known(here, 9), "d": known(here)}
    found = snap(tracks, images, existing, 1.0)
    assert found.numbers.tolist() == [0, 0, 1, 0]
    assert found.existing.tolist() == [True, True, False, True]


def test_a_keypoint_is_matched_once_in_a_pair() -> None:
    """Two points of the photo become one keypoint: the nearer one is matched."""
    images = (MatchedImage("a", (50, 50), (50, 50)), MatchedImage("b", (50, 50), (50, 50)))
    points = np.array([(10.4, 10), (10.1, 10), (30, 30), (1, 1), (2, 2), (3, 3)])
    snapped = snap(tracks_of(points, [0, 3, 6]), images, {"a": known(np.array([(10, 10)], np.float32))}, 1.0)
    rows = np.array([(0, 0), (1, 1), (2, 2)], np.uint32)
    found = renumbered(rows, (slice(0, 3), slice(3, 6)), snapped)
    assert sorted(found.tolist()) == [[0, 1], [1, 2]]


def test_options_of_a_run_are_read_back(tmp_path: Path) -> None:
    options = ReconstructOptions(
        tmp_path / "photos",
        tmp_path / "out",
        report=False,
        matching=MatchingOptions(long_side=480, tiles=True, masks=tmp_path / "masks"),
        choice=PairChoice("retrieval"),
        cameras=CameraOptions("single", "OPENCV", params="1,2,3,4,0,0,0,0"),
        tracks=TrackOptions(min_score=0.3, merge_radius=2.0),
        mapping=MapOptions(seed=3, mapper_option=("min_model_size=5", "mapper.max_reg_trials=2")),
    )
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "options.toml"
    file.write_text(config_text(options, tmp_path / "out", "head"), encoding="utf-8")
    assert stored_options(file, "reconstruct", ReconstructOptions) == options
    file.write_text('out = "."\n', encoding="utf-8")
    with pytest.raises(AstrError, match="lacks the option 'photos'"):
        stored_options(file, "reconstruct", ReconstructOptions)
    file.write_text('photos = "."\nout = "."\nseed = "many"\n', encoding="utf-8")
    with pytest.raises(AstrError, match="'seed' takes a number, not 'many'"):
        stored_options(file, "reconstruct", ReconstructOptions)


def test_a_model_gets_the_keypoints_of_its_database() -> None:
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(model="SIMPLE_PINHOLE", width=9, height=9, params=[9, 4, 4], camera_id=1)
    )
    for number, name in ((1, "a"), (2, "b")):
        image = pycolmap.Image(name, np.array([(1.5, 2.5), (3.5, 4.5)]), 1, number)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
    elements = [pycolmap.TrackElement(1, 1), pycolmap.TrackElement(2, 0)]
    point = model.add_point3D(np.array([0.0, 0, 5]), pycolmap.Track(elements), np.array([1, 2, 3], np.uint8))
    points = {"a": np.array([(1, 2), (3, 4)], np.float32), "b": np.zeros((2, 2), np.float32)}
    check_model(model, points, Path("sparse"))
    made = lengthened(model, {"b": np.array([(7, 8)], np.float32)})
    assert [len(made.image(number).points2D) for number in (1, 2)] == [2, 3]
    assert made.image(2).points2D[2].xy.tolist() == [7.5, 8.5]
    assert made.image(1).points2D[1].point3D_id == made.image(2).points2D[0].point3D_id == point
    assert made.point3D(point).color.tolist() == [1, 2, 3] and made.num_reg_images() == 2
    with pytest.raises(AstrError, match="has 3 keypoints of b, but the database has 2"):
        check_model(made, points, Path("sparse"))


def test_a_model_without_photos_has_no_trace_of_them(tmp_path: Path) -> None:
    """Each has a camera of its own, which goes too; points keep their number while two photos see them."""
    wanted = pycolmap.SyntheticDatasetOptions()
    wanted.num_rigs, wanted.num_cameras_per_rig, wanted.num_frames_per_rig, wanted.num_points3D = 4, 1, 1, 60
    wanted.track_length = 3
    model = pycolmap.synthesize_dataset(wanted)
    names = sorted(image.name for image in model.images.values())
    made = without(model, names[:1])
    made.write(tmp_path)
    read = pycolmap.Reconstruction(tmp_path)
    assert sorted(image.name for image in read.images.values()) == names[1:] and read.num_reg_images() == 3
    assert read.num_cameras() == read.num_rigs() == read.num_frames() == 3 and read.is_valid()
    gone = model.find_image_with_name(names[0]).image_id
    for number in model.point3D_ids():
        left = sorted(each.image_id for each in model.point3D(number).track.elements if each.image_id != gone)
        assert sorted(each.image_id for each in read.point3D(number).track.elements) == left and len(left) >= 2
    assert len(model.images) == 4 and without(model, []).num_reg_images() == 4
