"""Down to a model: the cameras come out where they are."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.errors import AstrError
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.alignment import centre_error
from astr_cli.sfm.mapping.mapper import MappingError, camera_centres, map_database


def error_of(model: Path, truth: dict[str, np.ndarray]) -> float:
    centres = camera_centres(model)
    return centre_error(np.array(list(centres.values())), np.array([truth[name] for name in centres]))


def test_a_simulated_scene_is_mapped(workplace: Path, scene: Any) -> None:
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    old = workplace / "3"
    old.mkdir()
    for name in ("points3D.bin", "points.ply"):
        (old / name).touch()
    (workplace / "7").mkdir()
    model = map_database(workplace / "db.db", workplace / "photos", workplace)
    assert model.registered == scene.names
    assert (model.missing, model.models, model.images) == ((), 1, 6)
    assert model.points >= 500
    assert model.mean_track > 3
    assert model.reprojection_error < 1
    assert error_of(workplace / "0", scene.centres) < 0.01
    # Models of an earlier run go; what is not a model stays.
    assert not old.exists()
    assert (workplace / "7").exists()
    points = (workplace / "0" / "points.ply").read_bytes()
    assert f"element vertex {model.points}".encode() in points
    assert sorted(path.name for path in workplace.iterdir()) == ["0", "7", "db.db", "matches.h5", "photos"]


def test_no_model_is_an_error_with_its_own_code(workplace: Path, scene: Any) -> None:
    weak = [type(m)(m.keypoints0[:3], m.keypoints1[:3], m.scores[:3], m.reference[:3]) for m in scene.matches]
    type(scene)(scene.names, scene.cameras, scene.pairs, tuple(weak), scene.long_side).write(workplace / "matches.h5")
    summary = import_matches(ImportOptions(workplace / "db.db"))
    assert "no pair passed" in summary.warnings[-1]
    with pytest.raises(MappingError, match="could not build a model from 6 images") as caught:
        map_database(workplace / "db.db", workplace / "photos", workplace)
    assert caught.value.exit_code == 3
    assert sorted(path.name for path in workplace.iterdir()) == ["db.db", "matches.h5", "photos"]


def error_of_all(model: Path, truth: dict[str, np.ndarray]) -> float:
    assert len(camera_centres(model)) == len(truth)
    return error_of(model, truth)


@pytest.fixture
def mapped(workplace: Path) -> Path:
    """A verified database, one camera for all."""
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    return workplace / "db.db"


def spoil(database: Path) -> None:
    """Shifts every tenth keypoint by 3 px after verification."""
    with closing(sqlite3.connect(database)) as connection:
        for number, rows, columns, data in connection.execute("SELECT * FROM keypoints").fetchall():
            points = np.frombuffer(data, "<f4").reshape(rows, columns).copy()
            points[::10, 0] += 3
            connection.execute("UPDATE keypoints SET data = ? WHERE image_id = ?", (points.tobytes(), number))
        connection.commit()


def note_error(database: Path, pixels: float | None) -> None:
    """Says, or does not, what an import of refined tracks says."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM astr_import WHERE name = 'largest_error'")
        if pixels is not None:
            connection.execute("INSERT INTO astr_import (name, value) VALUES ('largest_error', ?)", (str(pixels),))
        connection.commit()


def farthest(model: Path) -> float:
    """The largest reprojection error of a model, in pixels."""
    found = read_model(model)
    errors = []
    for point in found.points3D.values():
        for element in point.track.elements:
            image = found.image(element.image_id)
            seen = image.project_point(point.xyz)
            errors.append(np.linalg.norm(seen - image.points2D[element.point2D_idx].xy))
    return float(max(errors))


def test_refined_keypoints_are_held_to_their_precision(mapped: Path, workplace: Path) -> None:
    spoil(mapped)
    note_error(mapped, None)
    map_database(mapped, workplace / "photos", workplace)
    assert farthest(workplace / "0") > 2
    note_error(mapped, 2)
    map_database(mapped, workplace / "photos", workplace)
    assert farthest(workplace / "0") <= 2


def test_the_global_mapper(mapped: Path, workplace: Path, scene: Any) -> None:
    """It needs focal lengths, which it finds without touching the database."""
    content = mapped.read_bytes()[100:]  # behind SQLite's header
    model = map_database(mapped, workplace / "photos", workplace, MapOptions("global"))
    assert model.missing == () and model.points >= 500
    assert error_of_all(workplace / "0", scene.centres) < 0.01
    assert mapped.read_bytes()[100:] == content
    with pytest.raises(AstrError, match="--mapper other: choose incremental, global or hierarchical"):
        MapOptions("other")


def test_the_hierarchical_mapper(mapped: Path, workplace: Path, scene: Any) -> None:
    """Groups of at most four of the six photos, merged to one model."""
    content = mapped.read_bytes()[100:]
    groups = ("clustering_options.leaf_max_num_images=4", "clustering_options.image_overlap=3", "min_model_size=3")
    options = MapOptions("hierarchical", mapper_option=groups)
    model = map_database(mapped, workplace / "photos", workplace, options)
    assert model.missing == () and model.models == 1 and model.points >= 500
    assert error_of_all(workplace / "0", scene.centres) < 0.01
    assert mapped.read_bytes()[100:] == content
    with pytest.raises(AstrError, match="did you mean 'leaf_max_num_images'"):
        options = MapOptions("hierarchical", mapper_option=("clustering_options.leaf_max=4",))
        map_database(mapped, workplace / "photos", workplace, options)


def write_places(database: Path, places: dict[str, np.ndarray]) -> None:
    """GPS positions of photos, from metres east, north and up of a mountain."""
    origin = np.array([46.5, 8.0, 2000.0])
    with closing(pycolmap.Database.open(database)) as opened:
        for name, place in places.items():
            image = opened.read_image_with_name(name)
            position = pycolmap.GPSTransform().enu_to_ellipsoid(place[None], *origin)[0]
            opened.write_pose_prior(pycolmap.PosePrior(corr_data_id=image.data_id, position=position))


def test_a_model_of_photos_with_places_is_in_metres(mapped: Path, workplace: Path, scene: Any) -> None:
    metres = {name: 3 * centre[[0, 2, 1]] * [1, 1, -1] for name, centre in scene.centres.items()}
    places = {**metres, "z.png": metres["z.png"] + [0, 500, 0]}  # one is wrong
    write_places(mapped, places)
    model = map_database(mapped, workplace / "photos", workplace)
    place = model.georeference
    assert place is not None and (place.photos, place.within, place.on_a_line) == (6, 5, False)
    assert place.median_error < 0.5
    assert np.allclose(place[:2], (46.5, 8.0), atol=1e-3)
    first = sorted(metres)[0]
    for name, centre in camera_centres(workplace / "0").items():
        assert np.abs(np.array(centre) - (metres[name] - metres[first])).max() < 0.5, name
    points = [point.xyz for point in read_model(workplace / "0").points3D.values()]
    assert len(points) >= 200


def test_two_places_or_contradicting_ones_leave_the_model_as_it_is(mapped: Path, workplace: Path, scene: Any) -> None:
    write_places(mapped, {name: scene.centres[name] for name in scene.names[:2]})
    assert map_database(mapped, workplace / "photos", workplace).georeference is None
