"""`astr extend`: new photos in a finished reconstruction; what was there stays, and only new pairs are matched."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.database.keypoints import read_points
from astr_cli.sfm.extension import extend as module
from astr_cli.sfm.extension import remove as removing
from astr_cli.sfm.reconstruction import reconstruct as reconstruct_module
from astr_cli.store.matches_file import MatchesFile

from .conftest import Scene, arc, make_scene
from .extending import Place, error_of, poses, stand_in

NAMES = tuple(f"{letter}.png" for letter in "abcdef")
FIRST = 4  # photos of the first run
MADE = ["database.db", "matches.h5", "options.toml", "pairs.txt", "sparse", "summary.json", "times.json"]
COMMAND = ["--camera-mode", "single", "--long-side", "320", "--no-report"]


@pytest.fixture(scope="session")
def six() -> Scene:
    return make_scene(
        NAMES,
        arc(6, (512, 384), 480),
        list(itertools.combinations(range(6), 2)),
        *(320, 9.0),
        coarse=200,
        outliers=0.05,
    )


@pytest.fixture(scope="session")
def finished(six: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all/, photos/ with the first of them, and out/, their reconstruction."""
    folder = tmp_path_factory.mktemp("finished")
    six.write_photos(folder / "all")
    made = Place(six, folder, [])
    made.add(*NAMES[:FIRST])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reconstruct_module, "match_pairs", stand_in(six, made.calls))
        assert run(["reconstruct", made.photos, "--out", made.out, *COMMAND]) == 0
    return folder


@pytest.fixture
def place(six: Scene, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A finished reconstruction of the first photos."""
    made = Place(six, Path(shutil.copytree(finished, tmp_path / "place")), [])
    for each in (reconstruct_module, module):
        monkeypatch.setattr(each, "match_pairs", stand_in(six, made.calls))
    return made


def test_what_was_there_stays_and_only_new_pairs_are_matched(place: Place, capfd: Any) -> None:
    """In two steps, and as good as all photos together."""
    out = place.folder / "out"
    before, stood = read_points(out / "database.db"), poses(out)
    verified = read_existing(out / "database.db").geometries
    place.add("e.png")
    assert run(["extend", place.out, place.photos]) == 0
    assert "1 of 1 new photo registered by 4 new pairs" in capfd.readouterr().out
    place.add("f.png")
    assert run(["extend", place.out, place.photos]) == 0
    assert [len(pairs) for pairs in place.calls] == [4, 5]
    assert all("f.png" in pair for pair in place.calls[-1])
    after, stands = read_points(out / "database.db"), poses(out)
    for name, points in before.items():
        assert len(points) >= 200 and np.array_equal(after[name][: len(points)], points)
        assert np.allclose(stands[name], stood[name], atol=1e-9)
    assert len(after) == len(stands) == 6
    held = read_existing(out / "database.db")
    assert verified <= held.geometries and held.pairs == held.geometries and len(held.pairs) == 15
    assert len({image.camera for image in held.images.values()}) == 1
    with MatchesFile(out / "matches.h5") as file:
        assert len(file.pairs()) == 15 and file.attributes["images"] == "../photos"
    assert len(read_pairs(out / "pairs.txt").pairs) == 15
    assert sorted(path.name for path in out.iterdir()) == sorted(MADE)
    capfd.readouterr()
    assert run(["extend", place.out, place.photos]) == 0
    assert "nothing to do" in capfd.readouterr().out
    error = error_of(out, place.scene)
    shutil.rmtree(out)
    assert run(["reconstruct", place.photos, "--out", place.out, *COMMAND]) == 0
    assert error <= 1.3 * error_of(out, place.scene)


def test_a_photo_of_another_scene_is_left_out_and_readjust_adjusts_all(place: Place, capfd: Any) -> None:
    out = place.folder / "out"
    before = poses(out)
    place.add("e.png")
    shutil.copy(place.folder / "all" / "f.png", place.folder / "photos" / "other.png")
    assert run(["extend", place.out, place.photos, "--readjust"]) == 3
    said = capfd.readouterr()
    assert "other.png: not registered: none of its pairs passed verification" in said.err
    assert "1 of 2 new photos registered by 9 new pairs" in said.out
    after = poses(out)
    assert set(after) == {*before, "e.png"}
    moved = max(np.abs(after[name] - before[name]).max() for name in before)
    assert 1e-9 < moved < 0.05
    assert error_of(out, place.scene) < 0.01
    record = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert record["model"]["missing"] == ["other.png"] and record["pairs"]["pairs"] == 15


def test_a_kill_leaves_the_old_state_or_is_finished_by_the_next_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    out = place.folder / "out"
    before = contents(out)
    place.add("e.png")

    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "extend_models", stop)
        assert run(["extend", place.out, place.photos]) == 130
    assert {name: content for name, content in contents(out).items() if not name.startswith(".")} == before
    real = module.move_in
    with monkeypatch.context() as patched:  # the first call, at the start, has nothing to move
        patched.setattr(module, "move_in", lambda *folders: stop() if len(place.calls) > 1 else real(*folders))
        assert run(["extend", place.out, place.photos]) == 130
    assert {name: content for name, content in contents(out).items() if not name.startswith(".")} == before
    # Killed between two moves: whatever is moved already, the next run does the rest.
    (out / ".extend" / "ready" / "pairs.txt").replace(out / "pairs.txt")
    (out / "sparse" / "0").rename(out / ".extend" / "old-0")
    capfd.readouterr()
    assert run(["extend", place.out, place.photos]) == 0
    assert "nothing to do" in capfd.readouterr().out
    assert len(place.calls) == 2 and len(poses(out)) == 5
    assert not (out / ".extend").exists()


def test_pairs_that_failed_earlier_are_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    out, failed = place.folder / "out", ("b.png", "e.png")
    place.add("e.png")
    with monkeypatch.context() as patched:
        patched.setattr(module, "match_pairs", stand_in(place.scene, place.calls, [failed]))
        assert run(["extend", place.out, place.photos]) == 3
    assert "1 of 1 new photo registered by 4 new pairs" in capfd.readouterr().out
    before = read_points(out / "database.db"), poses(out)
    assert run(["extend", place.out, place.photos]) == 0
    said = capfd.readouterr().out
    assert "0 of 0 new photos registered by 0 new pairs, 1 pair that failed earlier matched again; now 5 photos" in said
    assert place.calls[-1] == [failed]
    after = read_points(out / "database.db"), poses(out)
    for name, points in before[0].items():
        assert np.array_equal(after[0][name][: len(points)], points)
        assert np.allclose(after[1][name], before[1][name], atol=1e-9)
    assert len(read_existing(out / "database.db").geometries) == len(read_pairs(out / "pairs.txt").pairs) == 10
    assert run(["extend", place.out, place.photos]) == 0
    assert "nothing to do" in capfd.readouterr().out


def test_removed_photos_leave_the_others_as_they_were(place: Place, capfd: Any) -> None:
    """A photo goes from the model, the database, matches.h5 and pairs.txt, and can come back as a new one."""
    out = place.folder / "out"
    before, stood = read_points(out / "database.db"), poses(out)
    assert run(["extend", place.out, "--remove", "d.png"]) == 0
    assert "1 photo and 3 pairs removed; now 3 photos, " in (said := capfd.readouterr().out)
    assert "the others moved by at most 0\n" in said
    after, stands = read_points(out / "database.db"), poses(out)
    assert set(after) == set(stands) == {"a.png", "b.png", "c.png"}
    for name, points in after.items():
        assert np.array_equal(points, before[name]) and np.array_equal(stands[name], stood[name])
    model = read_model(out / "sparse" / "0")
    assert model.num_points3D() >= 200 and model.is_valid()
    assert all(point.track.length() >= 2 for point in model.points3D.values())
    held = read_existing(out / "database.db")
    assert len(held.pairs) == len(held.geometries) == len(read_pairs(out / "pairs.txt").pairs) == 3
    with MatchesFile(out / "matches.h5") as file:
        assert len(file.pairs()) == 3 and file.attributes["images"] == "../photos"
    assert sorted(path.name for path in out.iterdir()) == sorted(MADE)
    record = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert record["pairs"]["pairs"] == 3 and record["database"]["images_held"] == 3 == len(record["image_pairs"])
    assert run(["check", str(out / "matches.h5"), str(out / "database.db")]) == 0
    assert run(["extend", place.out, place.photos]) == 0
    assert [sorted(pair) for pair in sorted(place.calls[-1])] == [[name, "d.png"] for name in sorted(stands)]
    assert len(poses(out)) == 4 and error_of(out, place.scene) < 0.01


def test_photos_of_a_list_are_removed_and_the_rest_readjusted(place: Place, capfd: Any) -> None:
    out, listed = place.folder / "out", place.folder / "gone.txt"
    place.add("e.png")
    assert run(["extend", place.out, place.photos]) == 0
    before = poses(out)
    listed.write_text("# blurred\na.png\ne.png\n")
    (place.folder / "photos" / "a.png").unlink()
    assert run(["extend", place.out, place.photos]) == 2
    assert "or take them out of it with --remove" in capfd.readouterr().err
    assert run(["extend", place.out, "--remove", str(listed), "--readjust"]) == 0
    after = poses(out)
    assert set(after) == {"b.png", "c.png", "d.png"}
    assert 1e-9 < max(np.abs(after[name] - before[name]).max() for name in after) < 0.05


def test_a_removal_is_all_or_nothing_and_refuses_in_a_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    out = place.folder / "out"
    before = contents(out)
    for remove, line in (
        (["D.png"], "--remove D.png: the reconstruction has no such photo; did you mean d.png?"),
        (["a.png", "b.png", "c.png"], "would have 1 of 4 photos left"),
    ):
        assert run(["extend", place.out, *(part for name in remove for part in ("--remove", name))]) == 2
        assert line in capfd.readouterr().err
    assert run(["extend", place.out]) == 2
    assert "name the folder of NEW_PHOTOS, or photos with --remove, not both" in capfd.readouterr().err

    def stop(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removing, "move_in", stop)
        assert run(["extend", place.out, "--remove", "d.png"]) == 130
    assert {name: content for name, content in contents(out).items() if not name.startswith(".")} == before
    assert run(["extend", place.out, "--remove", "d.png"]) == 0
    assert "has none of these photos any more" in capfd.readouterr().out
    assert len(poses(out)) == 3 and not (out / ".extend").exists()


def contents(folder: Path) -> dict[str, bytes]:
    """All files but COLMAP's counter in the head of a database."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content[100:] if name.endswith(".db") else content for name, content in files.items()}


def test_what_cannot_be_extended_is_refused_in_a_line(place: Place, capfd: Any) -> None:
    out = place.folder / "out"
    assert refused(place.photos, place.photos, capfd).endswith("name its --out\n")
    assert "outside of" in refused(place.out, str(place.folder / "all"), capfd)
    assert "no such folder" in refused(place.out, str(place.folder / "none"), capfd)
    (place.folder / "photos" / "a.png").rename(place.folder / "a.png")
    place.add("e.png")
    assert "put back the photos of the model" in refused(place.out, place.photos, capfd)
    place.add("a.png")
    shutil.rmtree(out / "sparse" / "0")
    assert f"is not finished ({out / 'sparse' / '0'} is missing)" in refused(place.out, place.photos, capfd)
    assert not (out / ".extend").exists() and not place.calls


def refused(out: str, photos: str, capfd: Any) -> str:
    """The one line of a refusal."""
    capfd.readouterr()
    assert run(["extend", out, photos]) == 2
    (line,) = capfd.readouterr().err.splitlines(keepends=True)
    return str(line)
