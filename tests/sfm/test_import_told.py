"""What `astr colmap-import` tells of a database, and what it advises."""

import json
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.mapping.mapper import MappingError, map_database

from .foreign_databases import query
from .test_import_poses import write_truth


def lines_of(text: str, word: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if word in line]


def test_the_commands_that_it_advises_overwrite_nothing(workplace: Path, scene: Any, capfd: Any) -> None:
    database = str(workplace / "db.db")
    (workplace / "sparse").mkdir()
    (workplace / "dense").mkdir()
    poses = write_truth(workplace / "sparse" / "0", scene)
    assert run(["colmap-import", database, "--poses", str(poses)]) == 0
    said = capfd.readouterr().out
    assert lines_of(said, "point_triangulator")[0].endswith(f"--output_path {workplace / 'triangulated'}")
    assert lines_of(said, "colmap mapper")[0].endswith(f"--output_path {workplace / 'sparse-2'}")
    assert lines_of(said, "image_undistorter")[0].endswith(f"--output_path {workplace / 'dense-2'}")
    (workplace / "sparse-2").mkdir()
    assert run(["colmap-import", database]) == 0
    assert f"mkdir -p {workplace / 'sparse-3'}" in capfd.readouterr().out


def test_what_is_ours_and_what_the_database_holds(sift: Path, scene: Any, capfd: Any) -> None:
    assert run(["colmap-import", str(sift)]) == 0
    said = capfd.readouterr().out
    ours = query(sift, "SELECT SUM(rows) FROM astr_keypoints")[0][0]
    held = query(sift, "SELECT SUM(rows) FROM keypoints")[0][0]
    assert held > ours > 200
    assert f"6 images, 1 camera (0 with known focal length), {held:,} keypoints; " in said
    assert f"; astr's part: {ours:,} keypoints in 6 images" in said
    assert run(["colmap-import", str(sift), "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert (record["keypoints"], record["keypoints_held"], record["images_held"]) == (ours, held, 6)


def test_no_verified_pair_is_not_done_well(workplace: Path, scene: Any, capfd: Any) -> None:
    weak = [type(m)(m.keypoints0[:3], m.keypoints1[:3], m.scores[:3], m.reference[:3]) for m in scene.matches]
    type(scene)(scene.names, scene.cameras, scene.pairs, tuple(weak), scene.long_side).write(workplace / "matches.h5")
    database = str(workplace / "db.db")
    assert run(["colmap-import", database, "--dry-run"]) == 0
    assert run(["colmap-import", database, "--no-verify"]) == 0
    assert run(["colmap-import", database]) == 3
    assert run(["colmap-import", database]) == 3
    assert "no pair passed geometric verification, so nothing can be mapped" in capfd.readouterr().err
    assert run(["check", database]) == 3
    # COLMAP's own line on that is not let through.
    with pytest.raises(MappingError):
        map_database(workplace / "db.db", workplace / "photos", workplace)
    assert "sfm.cc" not in capfd.readouterr().err


def test_images_that_lose_their_matches(workplace: Path, scene: Any, capfd: Any) -> None:
    """The second matches file knows the first three photos only."""
    import_matches(ImportOptions(workplace / "db.db"))
    few = [number for number, pair in enumerate(scene.pairs) if max(pair) < 3]
    pairs, matches = (tuple(found[number] for number in few) for found in (scene.pairs, scene.matches))
    type(scene)(scene.names, scene.cameras, pairs, matches, scene.long_side).write(workplace / "few.h5")
    command = ["colmap-import", str(workplace / "db.db"), "--matches", str(workplace / "few.h5"), "--quiet"]
    command.append("--replace-import")
    assert run([*command, "--dry-run"]) == 0
    assert "3 images of the database lose all matches (sub/é.png, y.png, z.png)" in capfd.readouterr().err
    assert run(command) == 0
    said = capfd.readouterr()
    assert "lose all matches" in said.err and "match all pairs into one file" in said.err and not said.out
    # Nothing is lost by the same again, or by more.
    assert run(command) == 0
    assert run(["colmap-import", str(workplace / "db.db"), "--quiet"]) == 0
    assert "lose all" not in capfd.readouterr().err


def test_the_hint_for_one_camera_works(workplace: Path) -> None:
    (hint,) = import_matches(ImportOptions(workplace / "db.db")).warnings
    assert "the same command with --mode create --camera-mode single" in hint
    again = import_matches(ImportOptions(workplace / "db.db", cameras=CameraOptions("single")))
    assert again.cameras == 6 and "--mode create" in again.warnings[-1]
    options = ImportOptions(workplace / "db.db", mode="create", cameras=CameraOptions("single"))
    assert import_matches(options).cameras == 1
    (hint,) = import_matches(ImportOptions(workplace / "other.db", replace_ours=True)).warnings
    assert "the same command with --camera-mode single" in hint


def test_bad_cameras_are_refused_before_the_work(workplace: Path, capfd: Any) -> None:
    command = ["colmap-import", str(workplace / "db.db"), "--cameras"]
    (workplace / "cameras.txt").write_text("1 PINHOLE 640 400 480 480 320 200\n")
    assert run([*command, str(workplace / "cameras.txt")]) == 2
    assert run([*command, str(workplace / "none.txt")]) == 2
    said = capfd.readouterr().err
    assert "no camera for any" in said and "building tracks" not in said
