"""`astr localize`: exact truth from the simulator; poses of queries, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.images.info import ImageInfo
from astr_cli.matching.run.events import MatchSummary
from astr_cli.options.matching import MatchOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.colmap import pycolmap, read_model
from astr_cli.sfm.localization import localize as module
from astr_cli.sfm.localization.correspondences import Correspondences, SeenPoints, correspondences
from astr_cli.sfm.localization.pose import find_pose, query_camera
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

from .conftest import Relief, Simulator

QUERY = 3  # of the scene's photos
FOCAL = 480.0


def info_of(name: str, focal: float | None) -> ImageInfo:
    return ImageInfo(name, Path(name), 512, 384, 0, 0, 1, focal)


def test_a_match_belongs_to_the_nearest_point() -> None:
    seen = SeenPoints(np.array([(10.0, 10), (20, 10), (20.5, 10)]), np.array([7, 8, 9]))
    ends = np.array([(10.5, 10), (20.4, 10), (13, 10), (10.4, 10)], np.float32)
    starts = np.array([(1, 1), (2, 2), (3, 3), (1, 1)], np.float32)
    matches = PairMatches(starts, ends, np.ones(4, np.float32), np.zeros(4, np.uint8))
    empty = seen._replace(ids=seen.ids[:0])
    found = correspondences([(matches, seen, 1.0), (matches, seen, 1.0), (matches, empty, 1.0)])
    assert (found.xy.tolist(), found.ids.tolist(), found.photos) == ([[1, 1], [2, 2]], [7, 9], 2)
    assert len(correspondences([(matches, seen, 4.0)])) == 3
    assert len(correspondences([])) == 0


@pytest.mark.parametrize("focal", [FOCAL, None])
def test_a_pose_among_wrong_matches(scene: Any, focal: float | None) -> None:
    """Half of the matches are wrong; without a focal length it is estimated."""
    camera = scene.cameras[QUERY]
    random = np.random.default_rng(0)
    pixels = random.random((400, 2)) * camera.size
    points = Relief(list(scene.cameras), 9.0, bump=0.3).cast(camera, pixels)
    pixels[:200] = random.random((200, 2)) * camera.size
    found = Correspondences(pixels + random.normal(0, 0.3, pixels.shape), np.arange(400), 1)
    pose = find_pose(found, points, query_camera(info_of("a.png", focal), None), 1.6, 0)
    assert pose is not None and pose.inliers[200:].all() and pose.inliers[:200].sum() < 20
    assert pose.camera.mean_focal_length() == pytest.approx(FOCAL, rel=0.01)
    centre = pose.cam_from_world.inverse().translation
    assert np.linalg.norm(centre - camera.centre) < 0.05


def test_too_few_matches_have_no_pose() -> None:
    found = Correspondences(np.zeros((3, 2)), np.arange(3), 1)
    assert find_pose(found, np.zeros((3, 3)), query_camera(info_of("a.png", FOCAL), None), 1.0, 0) is None


def true_model(scene: Any, folder: Path, chosen: list[int]) -> Path:
    """The true cameras, and the surface at the centres of all cells of each photo, where others see it, too."""
    model, relief = pycolmap.Reconstruction(), Relief(list(scene.cameras), 9.0)
    axis = np.array([(x, y) for y in range(16, 368, 13) for x in range(16, 496, 13)], float)
    seen: dict[int, list[tuple[float, float]]] = {number: [] for number in chosen}
    tracks = []
    for first in chosen:
        for point in relief.cast(scene.cameras[first], cells(axis)):
            track = []
            for number in chosen:
                pixel = scene.cameras[number].project(point[None])[0]
                if (pixel > 0).all() and (pixel < (511, 383)).all():
                    track.append((number, len(seen[number])))
                    seen[number].append(tuple(pixel))
            tracks.append((point, track))
    for number in chosen:
        camera, (width, height) = scene.cameras[number], scene.cameras[number].size
        params = [FOCAL, FOCAL, width / 2, height / 2]
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(model="PINHOLE", width=width, height=height, params=params, camera_id=number + 1)
        )
        image = pycolmap.Image(scene.names[number], np.array(seen[number]) + 0.5, number + 1, number + 1)
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(camera.R), camera.t)
        model.add_image_with_trivial_frame(image, pose)
    for point, track in tracks:
        elements = [pycolmap.TrackElement(number + 1, row) for number, row in track]
        model.add_point3D(point, pycolmap.Track(elements))
    folder.mkdir()
    model.write(str(folder))
    return folder


def cells(pixels: np.ndarray) -> np.ndarray:
    """The centres of the nearest cells, 8 pixels of a photo matched at 5/8 of its size."""
    return (np.floor((pixels + 0.5) * 0.625 / 8) * 8 + 4) / 0.625 - 0.5


def stand_in(scene: Any, wrong: str) -> Callable[[MatchOptions, Any], MatchSummary]:
    """A matching step that writes what the simulator finds; the query `wrong` gets matches of nothing."""
    simulator = Simulator(list(scene.cameras), Relief(list(scene.cameras), 9.0), 320, coarse=300, outliers=0.05)

    def match(options: MatchOptions, listener: Any) -> MatchSummary:
        entries = []
        for pair in read_pairs(options.pairs).pairs:
            query, photo = pair.name0.removeprefix("queries/"), pair.name1.removeprefix("photos/")
            found = simulator.match(QUERY, scene.names.index(photo))
            if query == wrong:
                found = replace(found, keypoints0=np.random.default_rng(1).permutation(found.keypoints0))
            sizes = (512, 384), (512, 384), (320, 256), (320, 256)
            entries.append(MatchEntry(pair.name0, pair.name1, *sizes[:2], found, *sizes[2:]))
        write_matches(options.out, [("images", ".."), ("long_side", "320")], entries)
        return MatchSummary(options.out, len(entries), len(entries), 0, (), 1, 6, 0, 0, 1.0)

    return match


def test_queries_get_poses_or_reasons(workplace: Path, scene: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    chosen = [0, 1, 2, 4, 5]
    model = true_model(scene, workplace / "model", chosen)
    (workplace / "queries").mkdir()
    for name in ("new.png", "wrong.png"):
        (workplace / "queries" / name).write_bytes((workplace / "photos" / scene.names[QUERY]).read_bytes())
    (workplace / "cameras.txt").write_text(f"1 PINHOLE 512 384 {FOCAL} {FOCAL} 256 192\n")
    monkeypatch.setattr(module, "match_pairs", stand_in(scene, "wrong.png"))
    places = ["--model", str(model), "--images", str(workplace / "photos"), "--out", str(workplace / "out")]
    command = ["localize", str(workplace / "queries"), *places, "--query-cameras", str(workplace / "cameras.txt")]
    assert run(command) == 3
    said = capfd.readouterr()
    assert "1 of 2 photos localized" in said.out and "wrong.png: not localized: " in said.err
    (line,) = (workplace / "out" / "poses.txt").read_text().splitlines()
    name, *numbers = line.split()
    w, x, y, z, *translation = map(float, numbers)
    rotation = pycolmap.Rotation3d(np.array([x, y, z, w])).matrix()
    true = scene.cameras[QUERY]
    assert name == "new.png"
    assert np.linalg.norm(-rotation.T @ translation - true.centre) < 0.003 * 10
    assert np.degrees(np.arccos(min(1.0, (np.trace(rotation @ true.R.T) - 1) / 2))) < 0.2
    # The model has the query with its points, and is otherwise as it was.
    grown, before = read_model(workplace / "out" / "sparse" / "0"), read_model(model)
    assert {image.name for image in grown.images.values()} == {*(scene.names[n] for n in chosen), "new.png"}
    assert grown.num_points3D() == before.num_points3D()
    added = next(image for image in grown.images.values() if image.name == "new.png")
    assert added.num_points3D == len(added.points2D) > 100
    first = (workplace / "out" / "poses.txt").read_bytes()
    assert run(command) == 3
    assert (workplace / "out" / "poses.txt").read_bytes() == first
    # Pairs of the user.
    capfd.readouterr()
    (workplace / "some.txt").write_text(f"new.png {scene.names[0]}\n{scene.names[2]} new.png\n")
    assert run([*command, "--pairs", str(workplace / "some.txt")]) == 3
    assert "it was matched with no photo of the model" in capfd.readouterr().err
    (workplace / "some.txt").write_text("new.png wrong.png\n")
    assert run([*command, "--pairs", str(workplace / "some.txt")]) == 2
    assert "some.txt:1: new.png wrong.png is not a query and a photo of the model" in capfd.readouterr().err


def test_what_is_no_model_or_no_query_is_refused(workplace: Path, capfd: Any) -> None:
    (workplace / "model").mkdir()
    places = ["--model", str(workplace / "model"), "--images", str(workplace / "photos"), "--out", str(workplace / "o")]
    assert run(["localize", str(workplace / "photos"), *places]) == 2
    assert str(workplace / "model") in capfd.readouterr().err
    assert not (workplace / "o").exists()
