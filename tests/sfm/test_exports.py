"""Exports are what the tracks are, in each format's own coordinates, and are read back by its readers."""

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.options.database import JoinOptions
from astr_cli.options.files import ExportOptions
from astr_cli.pairs.reading import read_pairs
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.exports.export import FORMATS, RECORD, export_matches
from astr_cli.sfm.exports.shared_keypoints import read_tracked
from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.pair_matches import pair_matches
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

SIZE = (640, 512)


def entry(name0: str, name1: str, count: int = 40, seed: int = 0) -> MatchEntry:
    """A pair whose image0 points are cell centres at half size."""
    random = np.random.default_rng(seed)
    cells = random.permutation(600)[:count]
    points0 = np.stack([cells % 30, cells // 30], 1) * 16.0 + 23.5
    points1 = points0 + random.normal(0, 3, points0.shape)
    arrays = (points0.astype(np.float32), points1.astype(np.float32), np.linspace(1, 0.5, count, dtype=np.float32))
    return MatchEntry(name0, name1, SIZE, SIZE, PairMatches(*arrays, np.zeros(count, np.uint8)))


@pytest.fixture
def matches(tmp_path: Path) -> Path:
    """Four images; the second pair is named against the order of names, the last one has no matches."""
    entries = [entry("x/a.jpg", "b.jpg"), entry("x/a.jpg", "c.jpg", seed=1), entry("c.jpg", "b.jpg", 30, seed=2)]
    write_matches(tmp_path / "matches.h5", [("long_side", "320")], [*entries, entry("b.jpg", "d.jpg", 0)])
    return tmp_path / "matches.h5"


def expected(path: Path) -> tuple[dict[str, np.ndarray], dict[tuple[str, str], set[tuple[int, int]]]]:
    """Keypoints by image, and matches by pair, as the track builder has them."""
    from astr_cli.sfm.tracks.match_rows import read_rows

    with MatchesFile(path) as file:
        rows = read_rows(file)
    tracks = build_tracks(rows)
    names = [matched.name for matched in rows.images]
    lists = pair_matches(tracks, rows)
    pairs = {(names[a], names[b]): found for (a, b), found in zip(rows.pairs.tolist(), lists, strict=True)}
    return (
        {name: tracks.of_image(number) for number, name in enumerate(names)},
        {pair: {(int(a), int(b)) for a, b in found} for pair, found in pairs.items()},
    )


def test_keypoints_are_shared_between_pairs(matches: Path) -> None:
    keypoints, pairs = expected(matches)
    found = read_tracked(matches, JoinOptions())
    assert [matched.name for matched in found.images] == sorted(keypoints)
    assert sum(len(each) for each in found.matches) == sum(map(len, pairs.values())) == 110
    assert len(keypoints["x/a.jpg"]) < 80  # of 80 matches: some cells see both others
    assert all(len(points) == len(scores) for points, scores in zip(found.keypoints, found.scores, strict=True))


def test_hloc(matches: Path, tmp_path: Path) -> None:
    """Read as hloc reads: by its key, in either order of the names."""
    keypoints, pairs = expected(matches)
    summary = export_matches(ExportOptions(matches, tmp_path / "out", "hloc"))
    assert (summary.images, summary.pairs, summary.matches) == (4, 4, 110)
    with h5py.File(tmp_path / "out" / "features.h5") as features, h5py.File(tmp_path / "out" / "matches.h5") as file:
        for name, points in keypoints.items():
            stored = features[name]["keypoints"]
            assert stored.dtype == np.float32
            assert (stored[()] == points).all()
            assert features[name]["scores"].shape == (len(points),)
            assert features[name]["image_size"][()].tolist() == list(SIZE)
        for (name0, name1), found in pairs.items():
            group = file[name0.replace("/", "-")][name1.replace("/", "-")]
            matches0, scores0 = group["matches0"][()], group["matching_scores0"][()]
            assert (matches0.dtype, scores0.dtype) == (np.int32, np.float16)
            assert len(matches0) == len(scores0) == len(keypoints[name0])
            assert {(int(k), int(matches0[k])) for k in np.flatnonzero(matches0 >= 0)} == found
            assert (scores0[matches0 >= 0] >= 0.5).all() and (scores0[matches0 < 0] == 0).all()
    listed = read_pairs(tmp_path / "out" / "pairs.txt").pairs
    assert [(pair.name0, pair.name1) for pair in listed] == list(pairs) or set(pairs) == {
        (pair.name0, pair.name1) for pair in listed
    }


def test_imc(matches: Path, tmp_path: Path) -> None:
    keypoints, pairs = expected(matches)
    export_matches(ExportOptions(matches, tmp_path / "out", "imc"))
    with h5py.File(tmp_path / "out" / "keypoints.h5") as features, h5py.File(tmp_path / "out" / "matches.h5") as file:
        for name, points in keypoints.items():
            assert (features[name][()] == points).all()
        for (name0, name1), found in pairs.items():
            indices = file[name0][name1]
            assert indices.shape == (len(found), 2)
            assert {(int(a), int(b)) for a, b in indices[()]} == found


def test_colmap_text(matches: Path, tmp_path: Path) -> None:
    """COLMAP's own reader takes the list of pairs; keypoints are half a pixel on, with a zero descriptor."""
    keypoints, pairs = expected(matches)
    out = tmp_path / "out"
    export_matches(ExportOptions(matches, out, "colmap"))
    for name, points in keypoints.items():
        head, *lines = (out / "keypoints" / f"{name}.txt").read_text().splitlines()
        assert head.split() == [str(len(points)), "128"]
        rows = np.array([[float(word) for word in line.split()] for line in lines]).reshape(-1, 132)
        np.testing.assert_allclose(rows[:, :2], points + 0.5, atol=1e-4)
        assert (rows[:, 2:] == [1, *[0] * 129]).all()
    blocks = [block.splitlines() for block in (out / "matches.txt").read_text().split("\n\n") if block.strip()]
    found = {tuple(head.split()): {tuple(map(int, line.split())) for line in lines} for head, *lines in blocks}
    filled = {pair: rows for pair, rows in pairs.items() if rows}
    assert found == filled
    with closing(pycolmap.Database.open(tmp_path / "db.db")) as database:
        parameters = {"model": "SIMPLE_PINHOLE", "width": 640, "height": 512, "params": [1.0, 1.0, 1.0]}
        camera = database.write_camera(pycolmap.Camera(**parameters))
        ids = {database.write_image(pycolmap.Image(name=name, camera_id=camera)): name for name in keypoints}
        options = pycolmap.ImportedPairingOptions()
        options.match_list_path = out / "pairs.txt"
        read = pycolmap.ImportedPairGenerator(options, database).all_pairs()
    assert {(ids[a], ids[b]) for a, b in read} == set(filled)


def openmvg_matches(path: Path) -> Iterator[tuple[tuple[int, int], set[tuple[int, int]]]]:
    """As OpenMVG reads its text: numbers only, wherever the lines end."""
    words = map(int, path.read_text().split())
    for first in words:
        second, count = next(words), next(words)
        rows = list(islice(words, 2 * count))
        assert len(rows) == 2 * count
        yield (first, second), set(zip(rows[::2], rows[1::2], strict=True))


def test_openmvg(matches: Path, tmp_path: Path) -> None:
    keypoints, pairs = expected(matches)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 35  # FocalLengthIn35mmFilm
    for name in keypoints:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        photo = Image.new("L", SIZE)
        photo.save(tmp_path / "photos" / name, **({"exif": exif} if name == "c.jpg" else {}))
    out = tmp_path / "out"
    export_matches(ExportOptions(matches, out, "openmvg", images=tmp_path / "photos"))
    data = json.loads((out / "sfm_data.json").read_text())
    assert data["root_path"] == str((tmp_path / "photos").resolve())
    views = [view["value"]["ptr_wrapper"]["data"] for view in data["views"]]
    names = {view["id_view"]: "/".join(filter(None, (view["local_path"], view["filename"]))) for view in views}
    assert sorted(names.values()) == sorted(keypoints)
    pointers = [each["value"]["ptr_wrapper"]["id"] for each in data["views"] + data["intrinsics"]]
    assert len(set(pointers)) == len(pointers)
    focals = [each["value"]["ptr_wrapper"]["data"]["focal_length"] for each in data["intrinsics"]]
    by_name = {names[view["id_view"]]: focals[view["id_intrinsic"]] for view in views}
    assert by_name["b.jpg"] == by_name["x/a.jpg"] == pytest.approx(768)
    assert by_name["c.jpg"] == pytest.approx(35 / 43.27 * np.hypot(*SIZE))
    for name, points in keypoints.items():
        stem = Path(name).stem
        lines = (out / f"{stem}.feat").read_text().splitlines()
        rows = np.array([[float(word) for word in line.split()] for line in lines]).reshape(-1, 4)
        np.testing.assert_allclose(rows[:, :2], points, atol=1e-4)
        descriptors = (out / f"{stem}.desc").read_bytes()
        assert int.from_bytes(descriptors[:8], "little") == len(points)
        assert len(descriptors) == 8 + 128 * len(points)
    read = dict(openmvg_matches(out / "matches.putative.txt"))
    assert all(first < second for first, second in read)
    for (first, second), rows in read.items():
        pair = (names[first], names[second])
        known = pairs.get(pair) or {(b, a) for a, b in pairs[pair[1], pair[0]]}
        assert rows == known
    assert len(read) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_equal_input_gives_equal_bytes(form: str, matches: Path, tmp_path: Path) -> None:
    first, second = (export_matches(ExportOptions(matches, tmp_path / name, form)) for name in "ab")
    assert first.files == second.files != ()
    for file in first.files:
        assert (first.out / file).read_bytes() == (second.out / file).read_bytes()
    assert sorted(path.name for path in first.out.iterdir() if path.name.startswith(".")) == [RECORD]


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_there_stays(form: str, matches: Path, tmp_path: Path) -> None:
    options = ExportOptions(matches, tmp_path / "out", form)
    summary = export_matches(options)
    (summary.out / summary.files[0]).write_bytes(b"mine")
    with pytest.raises(AstrError, match="already exists; replace it with --overwrite"):
        export_matches(options)
    assert (summary.out / summary.files[0]).read_bytes() == b"mine"
    anew = ExportOptions(matches, tmp_path / "out", form, overwrite=True)
    with pytest.raises(AstrError, match="was not written by astr export, or was changed since, so astr keeps it"):
        export_matches(anew)
    assert (summary.out / summary.files[0]).read_bytes() == b"mine"
    (summary.out / summary.files[0]).unlink()
    export_matches(anew)
    assert export_matches(anew).files == summary.files
    (summary.out / RECORD).write_text("[" * 100_000)  # not a record
    with pytest.raises(AstrError, match="was not written by astr export"):
        export_matches(anew)


def test_another_format_replaces_the_files_of_the_same_name(matches: Path, tmp_path: Path) -> None:
    for form in ("hloc", "imc", "colmap", "hloc"):
        export_matches(ExportOptions(matches, tmp_path / "out", form, overwrite=True))
    photo = tmp_path / "out" / "features.h5"
    photo.unlink()
    photo.write_bytes(b"\xff\xd8 a photo")
    with pytest.raises(AstrError, match="was not written by astr export"):
        export_matches(ExportOptions(matches, tmp_path / "out", "hloc", overwrite=True))


def test_the_input_is_never_overwritten(matches: Path) -> None:
    before = matches.read_bytes()
    for form in ("hloc", "imc"):
        with pytest.raises(AstrError, match="choose another --out"):
            export_matches(ExportOptions(matches, matches.parent, form, overwrite=True))
    assert matches.read_bytes() == before
    assert not (matches.parent / "features.h5").exists()


@pytest.mark.parametrize(
    ("names", "form", "message"),
    [
        (("a b.jpg", "c.jpg"), "colmap", "'a b.jpg': this format cannot contain names with spaces"),
        (("a b.jpg", "c.jpg"), "openmvg", "'a b.jpg': this format cannot contain names with spaces"),
        (("a.jpg", "x/a.png"), "openmvg", "a.jpg and x/a.png would share one .feat file"),
        (("a.jpg", "b.jpg"), "metashape", "--format metashape: choose one of hloc, imc, colmap, openmvg"),
    ],
)
def test_what_a_format_cannot_hold(names: tuple[str, str], form: str, message: str, tmp_path: Path) -> None:
    write_matches(tmp_path / "m.h5", [("long_side", "320")], [entry(*names)])
    with pytest.raises(AstrError, match=message):
        export_matches(ExportOptions(tmp_path / "m.h5", tmp_path / "out", form))
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_names_with_spaces_in_hdf5(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.h5", [("long_side", "320")], [entry("a b.jpg", "ü/c.jpg")])
    for form in ("hloc", "imc"):
        export_matches(ExportOptions(tmp_path / "m.h5", tmp_path / form, form))
    with h5py.File(tmp_path / "hloc" / "matches.h5") as file:
        assert "a b.jpg/ü-c.jpg" in file
    with h5py.File(tmp_path / "imc" / "matches.h5") as file:
        assert file["a b.jpg"]["ü/c.jpg"].shape == (40, 2)


def test_the_command(matches: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(matches), "--format", "openmvg", "--out", str(tmp_path / "o"), "--images", "photos"]) == 0
    out, err = capfd.readouterr()
    assert "4 photos" in out and "openMVG_main_GeometricFilter" in out and err == ""
    arguments = ["export", str(matches), "--format", "hloc", "--out", str(tmp_path / "h")]
    assert run([*arguments, "--json"]) == 0
    record: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert (record["event"], record["matches"]) == ("exported", 110)
    assert run(arguments) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert run([*arguments, "--overwrite", "--min-score", "2"]) == 2
    assert "no match has a score of 2" in capfd.readouterr().err
    assert run(["export", str(tmp_path / "none.h5"), "--out", str(tmp_path / "x")]) == 2
    assert not (tmp_path / "x").exists()
