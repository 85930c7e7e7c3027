"""What becomes of a database that is there already: made anew, refused, or only looked at."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from astr_cli.cli.app import run
from astr_cli.options.database import CameraOptions, ImportOptions, TrackOptions
from astr_cli.sfm.database.atomic import DatabaseError
from astr_cli.sfm.database.importing import import_matches

from .foreign_databases import execute, files, foreign, query


def test_create_makes_it_anew_and_keeps_a_backup(sift: Path, workplace: Path) -> None:
    content = sift.read_bytes()
    summary = import_matches(ImportOptions(sift, mode="create"))
    assert (workplace / "sift.db.backup").read_bytes() == content
    assert query(sift, "SELECT SUM(first) FROM astr_keypoints") == [(0,)]
    assert query(sift, "SELECT COUNT(*) FROM descriptors") == [(0,)]
    assert summary.keypoints == query(sift, "SELECT SUM(rows) FROM keypoints")[0][0]
    assert not import_matches(ImportOptions(sift, mode="create")).changed
    assert import_matches(ImportOptions(sift, mode="create", cameras=CameraOptions("single"))).cameras == 1


def test_fail_refuses(sift: Path, workplace: Path, capfd: Any) -> None:
    content = sift.read_bytes()
    assert run(["colmap-import", str(sift), "--mode", "fail"]) == 2
    err = capfd.readouterr().err
    assert "sift.db: already contains" in err and err.count("\n") == 1
    assert run(["colmap-import", str(sift), "--mode", "other"]) == 2
    assert "not one of 'create', 'append', 'replace', 'fail'" in capfd.readouterr().err
    assert sift.read_bytes() == content and files(workplace) == ["matches.h5", "photos", "sift.db"]
    import_matches(ImportOptions(workplace / "new.db", mode="fail"))


def test_a_dry_run_prints_the_difference_and_writes_nothing(sift: Path, workplace: Path, capfd: Any) -> None:
    content = sift.read_bytes()
    assert run(["colmap-import", str(sift), "--dry-run", "--quiet"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert "sift.db: would be extended" in lines[0] and "14 with astr's matches after existing ones" in lines[-1]
    assert run(["colmap-import", str(sift), "--dry-run", "--json"]) == 0
    change = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (change["event"], change["mode"], change["pairs_extended"]) == ("difference", "append", 14)
    assert sift.read_bytes() == content and files(workplace) == ["matches.h5", "photos", "sift.db"]
    # The difference is what then happens.
    summary = import_matches(ImportOptions(sift))
    assert summary.difference.keypoints_added == change["keypoints_added"]
    assert query(sift, "SELECT SUM(rows) FROM matches")[0][0] == change["matches_kept"] + change["matches_added"]
    assert run(["colmap-import", str(sift), "--dry-run"]) == 0
    assert "nothing would change" in capfd.readouterr().out
    assert run(["colmap-import", str(workplace / "new.db"), "--dry-run"]) == 0
    assert "would be created" in capfd.readouterr().out
    assert not (workplace / "new.db").exists()


def test_other_images_are_refused_with_an_example(workplace: Path, scene: Any) -> None:
    path = foreign(workplace, scene)
    execute(path, "UPDATE images SET name = 'x' || name")
    with pytest.raises(DatabaseError, match=r"0 of the 6 matched ones \(not a\.png; it has xa\.png\)"):
        import_matches(ImportOptions(path))


def test_a_camera_of_another_size_is_refused(sift: Path) -> None:
    execute(sift, "UPDATE cameras SET width = 1024, height = 768")
    with pytest.raises(DatabaseError, match=r"the camera of a\.png is 1024x768, but the photo was matched as 512x384"):
        import_matches(ImportOptions(sift))


def test_keypoints_behind_ours_are_refused_and_an_extraction_since_is_not(sift: Path) -> None:
    import_matches(ImportOptions(sift))
    content = sift.read_bytes()
    ((data,),) = query(sift, "SELECT data FROM keypoints WHERE image_id = 2")
    execute(sift, "UPDATE keypoints SET rows = rows + 1, data = ? WHERE image_id = 2", data + bytes(24))
    with pytest.raises(DatabaseError, match="another program added keypoints after"):
        import_matches(ImportOptions(sift, tracks=TrackOptions(min_score=0.5)))
    sift.write_bytes(content)
    # Somebody extracts anew: fewer keypoints, all theirs, and no matches yet.
    execute(sift, "UPDATE keypoints SET rows = 10, data = zeroblob(240)")
    execute(sift, "DELETE FROM descriptors")
    execute(sift, "DELETE FROM matches")
    execute(sift, "DELETE FROM two_view_geometries")
    import_matches(ImportOptions(sift))
    assert query(sift, "SELECT DISTINCT first FROM astr_keypoints") == [(10,)]


def test_verification_can_wait(workplace: Path, capfd: Any) -> None:
    assert run(["colmap-import", str(workplace / "db.db"), "--no-verify"]) == 0
    assert "without --no-verify" in capfd.readouterr().out
    assert query(workplace / "db.db", "SELECT COUNT(*) FROM two_view_geometries") == [(0,)]
    matches = query(workplace / "db.db", "SELECT * FROM matches")
    summary = import_matches(ImportOptions(workplace / "db.db", backup=False))
    assert (summary.changed, summary.verified.pairs, summary.difference.to_verify) == (True, 15, 15)
    assert query(workplace / "db.db", "SELECT * FROM matches") == matches
    assert not import_matches(ImportOptions(workplace / "db.db")).changed


def test_an_old_name_of_options_is_kept_apart(sift: Path) -> None:
    """What makes the result is remembered: other options are other work."""
    import_matches(ImportOptions(sift, backup=False))
    options = ImportOptions(sift, backup=False, dry_run=True)
    assert import_matches(options).difference.keypoints_added == 0
    for tracks in (TrackOptions(merge_radius=0.0), TrackOptions(min_score=0.5)):
        assert import_matches(replace(options, tracks=tracks)).difference.keypoints_added > 0
