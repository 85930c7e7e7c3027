"""`astr report`: the page shows what the files hold, whatever the names, and whatever is gone."""

from __future__ import annotations

import json
import shutil
import sys
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.images.charts import COLOURS
from astr_cli.images.drawing import DrawingFolder
from astr_cli.images.info import read_info
from astr_cli.images.thumbnail import thumbnail
from astr_cli.images.upright import turn_pixels
from astr_cli.matching.plots import photo_title
from astr_cli.report.gallery import write_gallery
from astr_cli.report.pair_list import MOST_PAIRS, Pair, drawn_pairs
from astr_cli.report.photo_list import FULL, Face
from astr_cli.report.report import write_report
from astr_cli.report.warnings import warning_lines
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.drawn_matches import read_drawn_matches
from astr_cli.sfm.mapping.place_errors import place_errors
from astr_cli.sfm.reconstruction.pair_plots import draw_verified
from astr_cli.sfm.reconstruction.stages import MOST_RUNS, TIMES, Stages, read_stages

from .conftest import NAMES, SIZE, data_of, with_repeats


@pytest.fixture(scope="module")
def data(made: Path) -> dict[str, Any]:
    """Of the page that astr reconstruct wrote."""
    return data_of(made / "out" / "report.html")


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(b64decode(text), kind)


def test_the_page_shows_what_the_files_hold(made: Path, data: dict[str, Any]) -> None:
    summary = json.loads((made / "out" / "summary.json").read_text(encoding="utf-8"))
    model = pycolmap.Reconstruction(str(made / "out" / "sparse" / "0"))
    assert [photo["name"] for photo in data["photos"]] == sorted(NAMES)
    assert all(photo["posed"] and photo["image"] and not photo["problem"] for photo in data["photos"])
    images = {image.name: image for image in model.images.values()}
    for photo in data["photos"]:
        image = images[photo["name"]]
        assert photo["points"] == image.num_points3D and photo["keypoints"] == image.num_points2D()
        assert photo["focal"] == pytest.approx(image.camera.mean_focal_length(), rel=1e-5)
    assert data["model"]["total"] == summary["model"]["points"] == len(unpacked(data["model"]["points"], "<f4")) / 3
    pairs = data["pairs"]
    assert unpacked(pairs["matches"], "<u4").tolist() == [pair["matches"] for pair in summary["image_pairs"]]
    assert unpacked(pairs["inliers"], "<i4").tolist() == [pair["inliers"] for pair in summary["image_pairs"]]
    for row, pair in enumerate(summary["image_pairs"]):
        verified = unpacked(pairs["drawn"][str(row)][1], "u1")
        assert set(verified.tolist()) <= {0, 1} and len(verified) == min(200, pair["matches"])
        assert verified.mean() == pytest.approx(pair["ratio"], abs=0.01)
    lengths = next(each for each in data["histograms"] if each["title"] == "track length")
    assert sum(lengths["counts"]) == summary["model"]["points"]
    assert 'camera-mode = "single"' in data["options"]
    assert data["lines"][-1].endswith("px") and "5 of 5 photos registered" in data["lines"][-1]


def test_keypoints_lie_where_the_model_sees_them(made: Path, data: dict[str, Any]) -> None:
    model = pycolmap.Reconstruction(str(made / "out" / "sparse" / "0"))
    for image in model.images.values():
        photo = next(each for each in data["photos"] if each["name"] == image.name)
        seen = image.get_observation_points2D()
        places = unpacked(photo["seen"], "<u2").reshape(-1, 2) / FULL * SIZE
        # COLMAP counts from the edge of the photo, as shares of its width do.
        np.testing.assert_allclose(places, [point.xy for point in seen], atol=0.01)
        tracks = [len(model.point3D(point.point3D_id).track.elements) for point in seen]
        assert unpacked(photo["lengths"], "u1").tolist() == tracks
        errors = [model.point3D(point.point3D_id).error for point in seen]
        np.testing.assert_allclose(unpacked(photo["errors"], "u1") * 0.02, np.minimum(errors, 5.08), atol=0.011)


class Tags(HTMLParser):
    """The elements of a page, and what they would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]


def test_names_are_text_and_nothing_is_fetched(made: Path) -> None:
    text = (made / "out" / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert tags.tags.count("script") == 3 and "b" not in tags.tags and "img" not in tags.tags
    assert all(link.startswith("#") for link in tags.fetched)
    assert "default-src 'none'" in text and "unsafe-eval" not in text
    assert all(f"--{name}: {colour};" in text for name, colour in COLOURS.items())
    assert "displayModeBar: false" in text  # one of plotly's buttons would send the data to a server
    assert "innerHTML" not in (Path(__file__).parents[2] / "astr_cli" / "report" / "assets" / "report.js").read_text()


def test_the_same_files_make_the_same_page(made: Path) -> None:
    page = made / "out" / "report.html"
    before, time = page.read_bytes(), page.stat().st_mtime_ns
    assert run(["report", str(made / "out"), "--quiet"]) == 0
    assert page.read_bytes() == before and page.stat().st_mtime_ns == time


def test_a_photo_that_is_gone_or_another_one_gets_a_placeholder(made: Path, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(made / "photos", tmp_path / "photos")
    (tmp_path / "photos" / NAMES[0]).unlink()
    (tmp_path / "photos" / NAMES[1]).write_bytes(b"no photo")
    Image.new("RGB", (64, 64)).save(tmp_path / "photos" / NAMES[2])
    page = tmp_path / "page.html"
    command = ["report", str(made / "out"), "--images", str(tmp_path / "photos"), "--out", str(page)]
    assert run(command) == 0
    assert "3 photos not shown" in capsys.readouterr().err
    photos = {photo["name"]: photo for photo in data_of(page)["photos"]}
    problems = [photos[name]["problem"] for name in NAMES]
    assert problems[0].startswith("no such file") and "not an image" in problems[1] and "64x64 now" in problems[2]
    assert problems[3:] == ["", ""] and all(
        bool(photos[name]["image"]) == (not photos[name]["problem"]) for name in NAMES
    )


@pytest.mark.parametrize("part", ["matches.h5", "database.db", "sparse/0"])
def test_a_part_alone(made: Path, tmp_path: Path, part: str, data: dict[str, Any]) -> None:
    page = tmp_path / "page.html"
    assert run(["report", str(made / "out" / part), "--out", str(page), "--quiet"]) == 0
    found = data_of(page)
    assert [photo["name"] for photo in found["photos"]] == sorted(NAMES)
    assert all(photo["image"] for photo in found["photos"])  # the folder of the photos is found
    assert (found["model"] is not None) == (part == "sparse/0")
    pairs = len(unpacked(found["pairs"]["matches"], "<u4"))
    assert pairs == (0 if part == "sparse/0" else 10)
    if part == "database.db":
        assert found["pairs"]["inliers"] == data["pairs"]["inliers"]
    if part == "matches.h5":
        assert set(unpacked(found["pairs"]["inliers"], "<i4")) == {-1}


def test_in_the_middle_of_a_run(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "out" / "matches.h5", tmp_path)
    shutil.copy(made / "out" / "database.db", tmp_path)
    assert run(["report", str(tmp_path), "--images", str(made / "photos"), "--quiet"]) == 0
    found = data_of(tmp_path / "report.html")
    assert found["model"] is None and len(unpacked(found["pairs"]["matches"], "<u4")) == 10


def test_refused(made: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "report.html").write_text("mine")
    (tmp_path / "text.txt").write_text("text")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    shutil.copy(made / "out" / "matches.h5", foreign)
    (foreign / "summary.json").write_text("{}")
    for command, message in (
        ([str(made / "out"), "--out", str(tmp_path / "report.html")], "is not a page of astr"),
        ([str(made / "out"), "--out", str(tmp_path / "no" / "page.html")], "there is no folder"),
        ([str(made / "out"), "--images", str(tmp_path / "no"), "--out", str(tmp_path / "a.html")], "no such folder"),
        ([str(tmp_path / "no")], "no such file or folder"),
        ([str(tmp_path / "text.txt")], "is no matches.h5"),
        ([str(tmp_path)], "no matches.h5, no database.db and no model"),
        ([str(foreign)], "was not written by this astr reconstruct"),
    ):
        assert run(["report", *command]) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "report.html").read_text() == "mine"


def test_without_plotly(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert run(["report", str(made / "out"), "--out", str(tmp_path / "page.html")]) == 2
    assert "pip install 'astr-cli[report]'" in capsys.readouterr().err


def test_times_of_the_stages(made: Path, data: dict[str, Any]) -> None:
    stages = [stage["stage"] for stage in data["runs"][-1]]
    assert stages == ["choosing pairs", "matching", "tracks and verification", "mapping"]
    assert all(stage["seconds"] >= 0 for stage in data["runs"][-1])


def test_stages_are_told_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr("astr_cli.sfm.reconstruction.stages.time.monotonic", lambda: next(clock))
    for run_number in range(MOST_RUNS + 3):
        stages = Stages(tmp_path, told.append)
        stages.begin("one")
        stages.begin("two", "matches")
        stages.end()
        runs = read_stages(tmp_path / TIMES)
        assert len(runs) == min(run_number + 1, MOST_RUNS) and [each["stage"] for each in runs[-1]] == ["one", "two"]
    assert told[0] == f"one: done in 10 s; to see matches: astr report {tmp_path}" and len(told) == MOST_RUNS + 3
    for text in ("", "[]", "{}", '{"astr_runs": 3}', '{"astr_runs": [[3, {"stage": 1}]]}'):
        (tmp_path / TIMES).write_text(text)
        assert sum(map(len, read_stages(tmp_path / TIMES))) == 0


def test_json(made: Path, tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "page.html"
    assert run(["report", str(made / "out"), "--out", str(page), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["event"], said["page"], said["bytes"]) == ("report", str(page), page.stat().st_size)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_thumbnails_stand_upright_and_places_follow(tmp_path: Path, orientation: int) -> None:
    raw = np.zeros((60, 90, 3), np.uint8)
    raw[8:16, 64:72] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(raw).save(tmp_path / "a.png", exif=exif)
    info = read_info(tmp_path, "a.png")
    found = thumbnail(info, 90, 100_000)
    seen = np.asarray(Image.open(BytesIO(found.jpeg)))[..., 0]
    assert seen.shape == turn_pixels(raw[..., 0], orientation).shape == found.size[::-1]
    face = Face(info.size, info.orientation, found, "", None)
    place = face.places(np.array([[67.5, 11.5]]))[0] / FULL * found.size - 0.5
    bright = np.argwhere(seen > 128)
    np.testing.assert_allclose(bright.mean(0)[::-1], place, atol=0.2)


def test_a_thumbnail_keeps_to_its_room(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=95)
    info = read_info(tmp_path, "a.jpg")
    for room in (40_000, 8_000, 1_500):
        found = thumbnail(info, 640, room)
        assert len(found.jpeg) <= room and Image.open(BytesIO(found.jpeg)).size == found.size


def test_weakest_and_strongest_pairs_are_drawn() -> None:
    pairs = tuple(Pair(f"{number:05}", "z", number, number // 2) for number in range(3 * MOST_PAIRS))
    rows = drawn_pairs(pairs)
    half = MOST_PAIRS // 2
    assert sorted(rows) == [*range(half), *range(3 * MOST_PAIRS - half, 3 * MOST_PAIRS)]
    assert sorted(drawn_pairs(pairs[:5])) == list(range(5))


def test_reconstruct_draws_verified_and_rejected_matches(made: Path, tmp_path: Path) -> None:
    """Dots of both colours, where the report has them; names in letters that can be drawn."""
    target = DrawingFolder(tmp_path / "plots")
    assert draw_verified(made / "out" / "database.db", made / "photos", target) == 10
    drawings = sorted((tmp_path / "plots").iterdir())
    assert len(drawings) == 10
    found = next(read_drawn_matches(made / "out" / "database.db", [(NAMES[4], NAMES[3])], 10_000))
    assert found is not None and {0, 1} <= set(found.verified.tolist())
    back = next(read_drawn_matches(made / "out" / "database.db", [(NAMES[3], NAMES[4])], 10_000))
    assert back is not None and np.array_equal(back.places0, found.places1)
    greens = []
    for drawing in drawings:
        canvas = np.asarray(Image.open(drawing).convert("RGB")).astype(int)
        assert canvas.shape[0] > 400 and canvas[:28].max() > 200  # a title
        greens.append(((canvas[28:, :, 1] > 150) & (canvas[28:, :, 0] < 110) & (canvas[28:, :, 2] < 110)).sum())
    assert min(greens) > 200
    assert photo_title("é" * 40, "b.png") == f"...{'?' * 27} - b.png"


def test_place_errors_are_from_the_place_to_the_camera(made: Path, tmp_path: Path) -> None:
    database = tmp_path / "database.db"
    shutil.copy(made / "out" / "database.db", database)
    origin = (47.5, 8.5, 400.0)
    shifts = {NAMES[0]: (3.0, -4.0, 12.0), NAMES[1]: (0.5, 0.0, -1.0)}
    with pycolmap.Database.open(str(database)) as opened:
        for image in opened.read_all_images():
            if image.name in shifts:
                place = pycolmap.GPSTransform().enu_to_ellipsoid(np.array([[10.0, 20.0, 5.0]]), *origin)[0]
                if image.name == NAMES[1]:
                    place[2] = np.nan
                prior = pycolmap.PosePrior(
                    corr_data_id=image.data_id,
                    position=place,
                    coordinate_system=pycolmap.PosePriorCoordinateSystem.WGS84,
                )
                opened.write_pose_prior(prior)
    centres = {name: np.array([10.0, 20.0, 5.0]) + shift for name, shift in shifts.items()}
    found = place_errors(database, centres, origin)
    np.testing.assert_allclose(found[NAMES[0]], shifts[NAMES[0]], atol=1e-3)
    np.testing.assert_allclose(found[NAMES[1]][:2], shifts[NAMES[1]][:2], atol=1e-3)
    assert np.isnan(found[NAMES[1]][2]) and set(found) == set(shifts)


@pytest.mark.parametrize("upright", [True, False])
def test_gps_residuals_are_in_the_coordinates_of_the_file(made: Path, tmp_path: Path, upright: bool) -> None:
    """The page turns a model that is not upright to draw it; its residuals stay as they are."""
    out = tmp_path / "out"
    shutil.copytree(made / "out", out)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    known = {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0, "photos": 5, "within": 5, "median_error": 1.0}
    summary["model"]["georeference"] = {**known, "on_a_line": not upright, "upright": upright}
    (out / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    images = pycolmap.Reconstruction(str(out / "sparse" / "0")).images.values()
    shift = np.array([3.0, -4.0, 12.0])
    with pycolmap.Database.open(str(out / "database.db")) as opened:
        for image in images:
            prior = pycolmap.PosePrior(
                corr_data_id=image.data_id,
                position=image.projection_center() - shift,
                coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
            )
            opened.write_pose_prior(prior)
    write_report(out, out / "report.html")
    data = data_of(out / "report.html")
    assert data["model"]["upright"] == upright and data["model"]["unit"] == "m"
    for photo in data["photos"]:
        np.testing.assert_allclose(photo["place"], shift, atol=1e-3)


def test_reconstruct_stands_where_the_report_fails(made: Path, tmp_path: Path, capsys: Any) -> None:
    """A page of the user has that name: it stays, and a line says so."""
    from astr_cli.cli.report import write_after

    out = tmp_path / "out"
    shutil.copytree(made / "out", out)
    (out / "report.html").write_text("mine")
    write_after(out, False, False)
    assert "no report: " in capsys.readouterr().err and (out / "report.html").read_text() == "mine"


def test_warnings_name_the_worst_first(made: Path) -> None:
    from astr_cli.report.sources import find_sources

    sources = find_sources(made / "out")
    photos = [{"name": "a", "posed": False}, {"name": "b", "posed": True, "points": 3}]
    pairs = [Pair("a", "b", 50, 40, 0.1), Pair("a", "c", 20, 0)]
    lines = warning_lines(sources, ["the model is bent"], photos, pairs, [("c", "no such file")])
    assert [line.split(":")[0] for line in lines[:3]] == [
        "1 of 2 photos not registered",
        "the model is bent",
        "1 photo with fewer than 50 points",
    ]
    assert "contradiction" in lines[3] and lines[4] == "1 of 2 pairs did not pass verification"
    assert "c (no such file)" in lines[5]


def test_write_report_says_what_it_wrote(made: Path, tmp_path: Path) -> None:
    report = write_report(made / "out", tmp_path / "page.html")
    assert report.size == (tmp_path / "page.html").stat().st_size < 8_000_000


def test_a_gallery_links_to_drawings_only(tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    odd = "a & 'b' #1.png"
    for name in ("a", "b"):
        target = DrawingFolder(folder / name)
        target.write(np.full((40, 60, 3), 90, np.uint8), odd, "<i>.png")
    Image.new("RGB", (8, 8)).save(folder / "photo.jpg")
    assert write_gallery(folder, "all") == folder / "index.html"
    tags = Tags()
    tags.feed((folder / "index.html").read_text(encoding="utf-8"))
    found = [unquote(link) for link in tags.fetched]
    assert len(found) == 4 and all((folder / link).is_file() for link in found) and "i" not in tags.tags
    assert {link.split("/")[0] for link in found} == {"a", "b"}
    (tmp_path / "empty").mkdir()
    assert write_gallery(tmp_path / "empty", "none") is None


def test_control_points_are_listed(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made / "out", out)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    points = [
        {"name": "<b>1</b>", "checks": False, "marks": 3, "east": 0.01, "north": -0.02, "up": 0.5, "pixels": 1.5},
        {"name": "2", "checks": True, "marks": 1, "east": None, "north": None, "up": None, "pixels": None},
    ]
    summary["model"]["control"] = {"system": "EPSG:32632", "offset": [1.0, 2.0, 3.0], "residuals": points}
    (out / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert run(["report", str(out), "--images", str(made / "photos"), "--quiet"]) == 0
    found = data_of(out / "report.html")
    assert found["control"] == points and found["model"]["unit"] == "m"


def test_misled_pairs_are_listed_with_their_reasons(made: Path, data: dict[str, Any], tmp_path: Path) -> None:
    assert data["repeats"] == []  # the check did not run
    page, repeats = with_repeats(made, tmp_path / "out")
    assert data_of(page)["repeats"] == repeats
