"""Adding to databases that others made: what they hold stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.options.database import CameraOptions, ImportOptions, TrackOptions
from astr_cli.sfm.colmap import open_database, pycolmap, quiet
from astr_cli.sfm.database.atomic import DatabaseError
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import map_database
from astr_cli.sfm.tracks.build import build_tracks

from .foreign_databases import arrays, assert_kept, execute, files, foreign, query


def test_what_was_there_is_kept_and_mapping_uses_both(sift: Path, workplace: Path, scene: Any) -> None:
    content = sift.read_bytes()
    summary = import_matches(ImportOptions(sift))
    backup = workplace / "sift.db.backup"
    assert summary.backup == backup and backup.read_bytes() == content
    assert files(workplace) == ["matches.h5", "photos", "sift.db", "sift.db.backup"]
    assert_kept(backup, sift)
    # Ours come behind, as many as there are, padded to six columns; descriptors go along.
    tracks = build_tracks(scene.rows())
    change = summary.difference
    assert (change.mode, change.images_added, change.pairs_added, change.pairs_extended) == ("append", (), 0, 14)
    assert summary.verified.pairs == 14
    for table in ("keypoints", "descriptors"):
        assert dict(query(sift, f"SELECT image_id, rows FROM {table}")) == {
            image: before + ours
            for image, (before, _), ours in zip(
                range(1, 7),
                arrays(backup, "keypoints", "image_id").values(),
                [row[0] for row in query(sift, "SELECT rows FROM astr_keypoints ORDER BY image_id")],
                strict=True,
            )
        }
    assert change.keypoints_added == sum(row[0] for row in query(sift, "SELECT rows FROM astr_keypoints"))
    assert 0.8 < change.keypoints_added / len(tracks.image) <= 1
    first = dict(query(sift, "SELECT name, first FROM astr_keypoints JOIN images USING (image_id)"))
    # The pair that was not matched by us keeps its geometry, byte for byte.
    last = f"SELECT * FROM two_view_geometries WHERE pair_id = {5 * 2147483647 + 6}"
    assert len(query(backup, last)) == 1 and query(sift, last) == query(backup, last)
    map_database(sift, workplace / "photos", workplace)
    used = [0, 0]
    for image in pycolmap.Reconstruction(str(workplace / "0")).images.values():
        for index, point in enumerate(image.points2D):
            used[index >= first[image.name]] += point.has_point3D()
    assert min(used) > 300


def test_the_same_again_changes_nothing(sift: Path, workplace: Path) -> None:
    assert import_matches(ImportOptions(sift)).changed
    content, before = sift.read_bytes(), sift.stat()
    for options in (ImportOptions(sift), ImportOptions(sift, mode="append"), ImportOptions(sift, verify=False)):
        summary = import_matches(options)
        assert not summary.changed and summary.backup is None
        assert (summary.verified.pairs, summary.difference.to_verify) == (14, 0)
        assert sift.read_bytes() == content and sift.stat().st_mtime_ns == before.st_mtime_ns
    assert files(workplace) == ["matches.h5", "photos", "sift.db", "sift.db.backup"]


def test_other_matches_take_the_place_of_ours_only(sift: Path, workplace: Path) -> None:
    import_matches(ImportOptions(sift))
    one = query(sift, "SELECT * FROM matches")
    summary = import_matches(ImportOptions(sift, tracks=TrackOptions(min_score=0.6)))
    assert summary.difference.keypoints_removed > summary.difference.keypoints_added > 200
    assert summary.difference.matches_removed > summary.difference.matches_added > 200
    assert_kept(workplace / "sift.db.backup", sift)
    assert summary.backup == workplace / "sift.db.backup2"
    # And back: as if nothing had been in between.
    import_matches(ImportOptions(sift, backup=False))
    assert query(sift, "SELECT * FROM matches") == one
    assert not (workplace / "sift.db.backup3").exists()


def test_replace_leaves_keypoints_and_drops_other_matches(sift: Path, workplace: Path) -> None:
    summary = import_matches(ImportOptions(sift, mode="replace"))
    backup = workplace / "sift.db.backup"
    old, new = arrays(backup, "keypoints", "image_id"), arrays(sift, "keypoints", "image_id")
    assert all(new[number][1].startswith(data) for number, (_, data) in old.items())
    assert summary.difference.matches_kept == 0
    assert len(query(sift, "SELECT * FROM matches")) == summary.verified.pairs == 14
    first = dict(query(sift, "SELECT image_id, first FROM astr_keypoints"))
    for pair, (_, data) in arrays(sift, "matches", "pair_id").items():
        rows = np.frombuffer(data, np.uint32).reshape(-1, 2)
        assert (rows >= (first[pair // 2147483647], first[pair % 2147483647])).all()
    assert not import_matches(ImportOptions(sift, mode="replace")).changed


def test_images_that_the_database_lacks(workplace: Path, scene: Any) -> None:
    path = foreign(workplace, scene, columns=4, images=4)
    content = path.read_bytes()
    with pytest.raises(DatabaseError, match=r"contains 4 images, but 4 of the 6 .*not y\.png.*--mode append"):
        import_matches(ImportOptions(path))
    assert path.read_bytes() == content
    summary = import_matches(ImportOptions(path, mode="append", cameras=CameraOptions("single", "OPENCV_FISHEYE")))
    assert summary.difference.images_added == ("y.png", "z.png")
    assert query(path, "SELECT image_id, name, camera_id, model FROM images JOIN cameras USING (camera_id)")[3:] == [
        (4, scene.names[3], 1, 2),
        (5, "y.png", 2, 5),
        (6, "z.png", 2, 5),
    ]
    assert query(path, "SELECT DISTINCT cols FROM keypoints WHERE image_id < 5") == [(4,)]
    assert query(path, "SELECT COUNT(DISTINCT data_id) FROM frame_data") == [(6,)]
    assert summary.verified.pairs >= 6  # the photos are no fisheye's
    assert not import_matches(ImportOptions(path)).changed


def test_a_database_of_before_rigs_gets_them_for_all_images(workplace: Path, scene: Any) -> None:
    path = foreign(workplace, scene, images=4)
    for table in ("frame_data", "frames", "rig_sensors", "rigs"):
        execute(path, f"DELETE FROM {table}")
    import_matches(ImportOptions(path, mode="append"))
    with open_database(path) as database:
        frames = database.read_all_frames()
        rigs = {rig.rig_id for rig in database.read_all_rigs()}
    assert sorted(data.id for frame in frames for data in frame.data_ids) == [1, 2, 3, 4, 5, 6]
    assert {frame.rig_id for frame in frames} <= rigs
    assert len(map_database(path, workplace / "photos", workplace).registered) == 6


def test_camera_options_of_known_images_are_told_to_be_idle(sift: Path, workplace: Path) -> None:
    summary = import_matches(ImportOptions(sift, cameras=CameraOptions("single", "OPENCV")))
    assert "the database keeps its existing cameras" in summary.warnings[-1]
    assert_kept(workplace / "sift.db.backup", sift)


def test_padded_descriptors_match_nothing(sift: Path) -> None:
    """Somebody matches SIFT again later: only SIFT keypoints are found."""
    import_matches(ImportOptions(sift))
    first = dict(query(sift, "SELECT image_id, first FROM astr_keypoints"))
    same = "(SELECT substr(data, 1, 6400) FROM descriptors WHERE image_id = 1)"
    execute(sift, f"UPDATE descriptors SET data = {same} || substr(data, 6401)")
    execute(sift, "DELETE FROM matches")
    execute(sift, "DELETE FROM two_view_geometries")
    with quiet():
        pycolmap.match_exhaustive(sift, device=pycolmap.Device.cpu)
    found = arrays(sift, "matches", "pair_id")
    assert sum(rows for rows, _ in found.values()) >= 15 * 45
    for pair, (rows, data) in found.items():
        matches = np.frombuffer(data or b"", np.uint32).reshape(-1, 2)
        assert rows == 0 or (matches < (first[pair // 2147483647], first[pair % 2147483647])).all()
