"""GPS positions that say nothing, are wrong, or lack a part: cases 02, 03 and 14."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.cli.reconstruct_output import place_text
from astr_cli.images.gps import Place
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.options.pairs import PairChoice
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import ModelSummary, camera_centres, map_database
from astr_cli.sfm.mapping.point_cloud import write_ply
from astr_cli.sfm.pairs import automatic
from astr_cli.sfm.pairs.automatic import Source
from astr_cli.sfm.pairs.generators import Proposal, metres_of, spatial

HILL = (46.5, 8.0, 2000.0)
SIZE = (512, 384)


def save(path: Path, place: tuple[float, float, float | None] | None, size: tuple[int, int] = (64, 48)) -> None:
    """A photo, noise from its name, with a GPS position in its EXIF."""
    rng = np.random.default_rng(list(path.name.encode()))
    exif = Image.Exif()
    exif[0x0131] = "astr"
    if place is not None:
        latitude, longitude, altitude = place
        exif.get_ifd(0x8825).update({1: "N", 2: dms(latitude), 3: "E", 4: dms(longitude)})
        if altitude is not None:
            exif.get_ifd(0x8825).update({5: b"\0", 6: altitude})
    Image.fromarray(rng.integers(0, 255, size[::-1]).astype(np.uint8)).save(path, exif=exif)


def dms(angle: float) -> tuple[float, float, float]:
    minutes = angle % 1 * 60
    return float(int(angle)), float(int(minutes)), round(minutes % 1 * 60, 5)


def east_north_up(metres: np.ndarray) -> np.ndarray:
    return np.asarray(pycolmap.GPSTransform().enu_to_ellipsoid(metres, *HILL))


def test_one_place_for_all_chooses_by_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 02."""
    names = [f"p{number:03d}.png" for number in range(64)]
    for name in names:
        save(tmp_path / name, (51.5, 7.25, 100.0))
    alike = Proposal(list(itertools.pairwise(names)))
    monkeypatch.setattr(automatic, "retrieval", lambda *arguments: alike)
    said: list[str] = []
    chosen = automatic.choose_pairs(Source(tmp_path, names, "astr-small", "cpu"), PairChoice(), said.append)
    assert (chosen.method, chosen.pairs) == ("retrieval", alike.pairs) and "most similar" in said[0]
    warning = spatial(tmp_path, names, 3, 100.0, True).warnings[0]
    assert "64 of 64 photos (for example p000.png) have the same GPS position as more than 3 others" in warning


def test_a_few_photos_in_one_place_are_as_good_as_any(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(12)]
    for number, name in enumerate(names):
        save(tmp_path / name, tuple(east_north_up(np.array([[20.0 * (number // 3), 0, 0]]))[0]))
    found = spatial(tmp_path, names, 5, 100.0, True)
    assert found.warnings == () and len(found.pairs) >= 30


def place_photos(folder: Path, scene: Any, change: Any) -> np.ndarray:
    """Gives the photos of a scene their true places as `change` alters them; returns these, in metres."""
    metres = np.array([3 * scene.centres[name][[0, 2, 1]] * [1, 1, -1] for name in scene.names])
    for number, (name, place) in enumerate(zip(scene.names, east_north_up(metres).tolist(), strict=True)):
        save(folder / "photos" / name, change(number, place), SIZE)
    return metres


def mapped(workplace: Path) -> ModelSummary:
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    return map_database(workplace / "db.db", workplace / "photos", workplace)


def centres_of(workplace: Path, scene: Any) -> np.ndarray:
    found = camera_centres(workplace / "0")
    return np.array([found[name] for name in scene.names])


@pytest.mark.parametrize("wrong", [(0.0, 0.0, 0.0), (10.0, 100.0, 50.0), (46.51, 8.0, 2000.0)])
def test_a_wrong_place_of_the_first_photo_moves_nothing(workplace: Path, scene: Any, wrong: Any) -> None:
    """Case 03: before the fix, 0, 0, 0; or another country's, or one a kilometre away."""
    metres = place_photos(workplace, scene, lambda number, place: wrong if number == 0 else place)
    model = mapped(workplace)
    place = model.georeference
    assert place is not None and place.within == 5 and place.photos == (5 if wrong[0] == 0 else 6)
    assert np.allclose(place[:3], east_north_up(metres[1:2])[0], atol=(1e-4, 1e-4, 0.1))  # the first good one's
    assert np.abs(centres_of(workplace, scene) - (metres - metres[1])).max() < 0.5
    data = (workplace / "0" / "points.ply").read_bytes()
    head, body = data.split(b"end_header\n", 1)
    points = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert b"property float x" in head and len(points) == model.points >= 200
    assert all(len(np.unique(points["xyz"][:, axis])) > 0.9 * len(points) for axis in range(3))


def test_without_altitude_places_count_and_metres_are_flat(workplace: Path, scene: Any) -> None:
    """Case 14."""
    metres = place_photos(workplace, scene, lambda number, place: (*place[:2], None))
    place = mapped(workplace).georeference
    assert place is not None and place.level and place.within == 6
    assert "height unknown" in place_text(place)
    assert "astr took all photos to be at one height" in place_text(place._replace(upright=True))
    away = centres_of(workplace, scene) - (metres - metres[0])
    assert np.linalg.norm(away, axis=1).max() < 3  # the photos are on two metres of height, 30 metres apart


def test_one_photo_without_altitude_is_as_high_as_the_others(workplace: Path, scene: Any) -> None:
    metres = place_photos(workplace, scene, lambda number, place: (*place[:2], None if number == 3 else place[2]))
    place = mapped(workplace).georeference
    assert place is not None and not place.level and (place.photos, place.within) == (6, 6)
    assert np.linalg.norm(centres_of(workplace, scene) - (metres - metres[0]), axis=1).max() < 2


def test_pairs_by_places_without_altitude(tmp_path: Path, capfd: Any) -> None:
    """Case 14."""
    for number in range(12):
        save(tmp_path / f"p{number:03d}.jpg", (51.5 + number * 5e-5, 7.25, None))
    assert run(["pairs", "spatial", str(tmp_path), "--neighbours", "3"]) == 0
    pairs = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert {(f"p{number:03d}.jpg", f"p{number + 1:03d}.jpg") for number in range(11)} <= {tuple(pair) for pair in pairs}


def test_heights_count_where_all_have_one() -> None:
    low, high = Place(46.5, 8.0, 100.0), Place(46.5, 8.0, 160.0)
    assert metres_of([low, high], flat=False)[1] == pytest.approx((0, 0, 60), abs=1e-6)
    for other in ([low, high], [low, high._replace(altitude=None)]):
        assert metres_of(other, flat=len(other) == 2 and other[1].altitude is not None)[:, 2].tolist() == [0, 0]


def test_far_points_keep_their_precision(workplace: Path, scene: Any) -> None:
    """Places that are metres of a grid, such as UTM, stay as they are: millions of metres from zero."""
    import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    grid = np.array([500_000.0, 5_700_000.0, 120.0])
    metres = {name: 3 * centre[[0, 2, 1]] * [1, 1, -1] + grid for name, centre in scene.centres.items()}
    with pycolmap.Database.open(workplace / "db.db") as database:
        for name, place in metres.items():
            image = database.read_image_with_name(name)
            prior = pycolmap.PosePrior(corr_data_id=image.data_id, position=place)
            prior.coordinate_system = pycolmap.PosePriorCoordinateSystem.CARTESIAN
            database.write_pose_prior(prior)
    assert map_database(workplace / "db.db", workplace / "photos", workplace).georeference is not None
    model = read_model(workplace / "0")
    head, body = (workplace / "0" / "points.ply").read_bytes().split(b"end_header\n", 1)
    assert b"property double x" in head
    points = np.frombuffer(body, [("xyz", "<f8", 3), ("rgb", "u1", 3)])
    expected = [model.point3D(number).xyz for number in sorted(model.point3D_ids())]
    np.testing.assert_array_equal(points["xyz"], expected)
    assert len(points) >= 200


def test_a_model_without_points(tmp_path: Path) -> None:
    write_ply(pycolmap.Reconstruction(), tmp_path / "points.ply")
    assert (
        (tmp_path / "points.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 0\n")
    )
