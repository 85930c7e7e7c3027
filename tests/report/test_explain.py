"""`astr explain`: its numbers are the model's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from astr_cli.cli.app import run
from astr_cli.images.masks import find_mask_by_path
from astr_cli.matching.matcher import Look, Matcher
from astr_cli.model.coarse import Fate
from astr_cli.ops.reference import dense_spot_attention
from astr_cli.report.explain import numbers_of
from astr_cli.report.explaining import Explanation, explain
from astr_cli.report.page import MARK
from astr_cli.store.matches_file import MatchesFile

SIZE = (288, 224)
TURNED = 6  # EXIF: rotate by 90 degrees clockwise to stand upright


def blobs(seed: int) -> np.ndarray:
    """(400, 500) grey values, smooth at several scales."""
    rng = np.random.default_rng(seed)
    parts = [cv2.GaussianBlur(rng.normal(size=(400, 500)), (0, 0), sigma) * sigma for sigma in (1.5, 4.0, 10.0)]
    mixed = sum(parts)
    return np.clip(128 + 50 * mixed / np.std(mixed), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two parts of one surface, the second shifted by 24, 12 pixels and stored on its side."""
    folder = tmp_path_factory.mktemp("pair")
    skin = blobs(0)
    exif = Image.Exif()
    exif[0x0112] = TURNED
    Image.fromarray(skin[20 : 20 + SIZE[1], 30 : 30 + SIZE[0]]).save(folder / "a.png")
    second = skin[32 : 32 + SIZE[1], 54 : 54 + SIZE[0]]
    Image.fromarray(np.rot90(second).copy()).save(folder / "b.png", exif=exif)
    return folder / "a.png", folder / "b.png"


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return Matcher.load("astr-small", device="cpu", long_side=288)


@pytest.fixture(scope="module")
def look(matcher: Matcher, photos: tuple[Path, Path]) -> Look:
    return matcher.look(*photos)


@pytest.fixture(scope="module")
def found(look: Look) -> Explanation:
    return explain(look, [])


def test_watching_changes_nothing(matcher: Matcher, look: Look, photos: tuple[Path, Path]) -> None:
    matches = matcher.match(*photos)
    assert len(matches) >= 200
    for name in ("keypoints0", "keypoints1", "scores", "reference"):
        assert np.array_equal(getattr(matches, name), getattr(look.matches, name))
    assert len(look.kept.plain) == 1 and len(look.kept.spots) == look.kept.config.rounds  # the second run added none


def test_numbers_are_those_of_the_model(matcher: Matcher, look: Look, found: Explanation) -> None:
    """The aggregation, run again without hooks."""
    model = matcher._runner._model
    with matcher._runner._computing():
        aggregated = model.aggregation(*look.kept.features, keep_rounds=True)
    numbers = numbers_of(found)
    matrices = [*(each.matching for each in aggregated.rounds), aggregated.matching]
    means = [float(each.best()[0].log_p.double().exp().mean()) for each in matrices]
    assert numbers["confidence"] == pytest.approx(means, rel=1e-6)
    assert numbers["matches"] == len(look.matches) == 2 * numbers["coarse_matches"]
    assert len(numbers["points"]) == 4
    for point, told in zip(found.points, numbers["points"], strict=True):
        for each, kept, said in zip(point.rounds, aggregated.rounds, told["rounds"], strict=True):
            assert each.centres.tolist() == kept.centres0[0, point.cell].tolist()
            assert said["confidence"] == float(kept.matching.best()[0].log_p[0, point.cell].exp())
        assert told["score"] == float(aggregated.matching.best()[0].log_p[0, point.cell].exp())


def test_matches_are_told_in_pixels_of_the_stored_photos(look: Look, found: Explanation) -> None:
    """The true place: shifted, then turned as the second photo is stored."""
    for point in found.points:
        assert point.fate == Fate.MATCHED and point.match is not None and point.fine is not None
        x, y = point.at - (24, 12)
        assert np.linalg.norm(point.match - (y, SIZE[0] - 1 - x)) < 2
        np.testing.assert_allclose(look.pair.view1.to_raw(point.fine.found[None])[0], point.match, atol=1e-3)
        row = np.flatnonzero((look.matches.keypoints0 == np.float32(point.at)).all(1) & (look.matches.reference == 0))
        assert len(row) == 1 and np.array_equal(look.matches.keypoints1[row[0]], np.float32(point.match))


def test_attention_of_the_first_layer_by_its_formula(look: Look) -> None:
    """phi(q) . phi(k) over their sum (LoFTR section 3.2), in float64."""
    attention, cells = look.kept.plain[0], torch.tensor([0, 333, 700])
    q, k = (F.elu(part[0].double()) + 1 for part in (attention.query, attention.key))
    products = q[:, cells] @ k.transpose(1, 2)
    expected = (products / products.sum(dim=2, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(attention.weights(cells).double(), expected, rtol=1e-4, atol=1e-7)


def test_attention_of_spots_by_the_dense_twin(look: Look) -> None:
    kept, cells = look.kept, torch.tensor([5, 400, 999])
    for attention, each in zip(kept.spots, kept.aggregated[0].rounds, strict=True):
        keys = attention.key.shape[2]
        value = torch.eye(keys, dtype=torch.float64).expand(1, attention.key.shape[1], keys, keys)
        expected = dense_spot_attention(
            attention.query[:, :, cells].double(),
            attention.key.double(),
            value,
            each.centres0[:, cells],
            kept.grids[1],
            kept.config.window,
        )
        torch.testing.assert_close(attention.weights(cells).double(), expected[0].mean(dim=0), rtol=1e-4, atol=1e-7)


def test_seeds_lead_to_the_windows(look: Look) -> None:
    for each in look.kept.aggregated[0].rounds:
        partner = each.matching.best()[0].cells[0]
        assert torch.equal(partner[each.seeds0[0]], each.centres0[0, :, 1:])
        assert torch.equal(partner, each.centres0[0, :, 0])


def test_fates_one_by_one(look: Look, found: Explanation) -> None:
    kept = look.kept
    best0, best1 = kept.best
    (h0, w0), (h1, w1) = kept.grids
    border = kept.config.border

    def at_border(cell: int, height: int, width: int) -> bool:
        row, column = divmod(cell, width)
        return not (border <= row < height - border and border <= column < width - border)

    for cell in range(h0 * w0):
        partner = int(best0.cells[cell])
        if int(best1.cells[partner]) != cell:
            expected = Fate.NOT_MUTUAL
        elif not float(best0.log_p[cell].exp()) > kept.settings.threshold:
            expected = Fate.BELOW_THRESHOLD
        elif at_border(cell, h0, w0) or at_border(partner, h1, w1):
            expected = Fate.BORDER
        else:
            expected = Fate.MATCHED
        assert found.fates.flat[cell] == expected
    assert (found.fates == Fate.MATCHED).sum() == len(kept.coarse.scores) == len(found.ratios)
    assert {int(fate) for fate in found.fates.flat} == set(Fate) - {Fate.MASKED}  # the loop saw every other kind


def test_points_that_are_asked_for(look: Look, found: Explanation) -> None:
    at = found.points[1].at
    same = explain(look, [(float(at[0]) + 3, float(at[1]) - 3)]).points[0]
    assert same.cell == found.points[1].cell
    np.testing.assert_allclose(same.plain, found.points[1].plain, rtol=1e-4)
    corner = explain(look, [(-0.5, -0.5), (SIZE[0] - 0.5, SIZE[1] - 0.5)]).points
    assert (corner[0].cell, corner[1].cell) == (0, found.fates.size - 1)
    assert corner[0].fate != Fate.MATCHED and corner[0].match is None and corner[0].fine is None


COVERED = 101  # columns of the first photo: twelve cells, and of the next one all but three pixels


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray, Path]:
    """A mask for the first photo, none for the second, and their folder."""
    folder = tmp_path_factory.mktemp("masks")
    keep = np.ones((SIZE[1], SIZE[0]), np.bool_)
    keep[:, :COVERED] = False
    Image.fromarray(keep.astype(np.uint8) * 255).save(folder / "a.png.png")
    return keep, np.ones(SIZE, np.bool_), folder


def test_masks_work_as_in_matching(
    matcher: Matcher, photos: tuple[Path, Path], masks: tuple[np.ndarray, np.ndarray, Path], tmp_path: Path
) -> None:
    look = matcher.look(*photos, masks=masks[:2])
    (tmp_path / "pairs.txt").write_text("a.png b.png\n")
    command = ["match", str(tmp_path / "pairs.txt"), "--images", str(photos[0].parent), "--device", "cpu", "--quiet"]
    command += ["--out", str(tmp_path / "m.h5"), "--masks", str(masks[2]), "--long-side", "288"]
    assert run(command) == 0
    with MatchesFile(tmp_path / "m.h5") as file:
        stored = file.read("a.png", "b.png")
    assert len(stored) > 100 and not look.stays.all()
    for name in ("keypoints0", "keypoints1", "scores", "reference"):
        assert np.array_equal(getattr(stored, name), getattr(look.matches, name))


def test_masks_are_a_reason(
    matcher: Matcher, found: Explanation, photos: tuple[Path, Path], masks: tuple[np.ndarray, np.ndarray, Path]
) -> None:
    look = matcher.look(*photos, masks=masks[:2])
    fates = explain(look, [(200, 100)]).fates
    assert (fates[:, : COVERED // 8] == Fate.MASKED).all()
    half = np.flatnonzero(fates[:, COVERED // 8] == Fate.MASKED)  # the model matched them: only the raw mask tells
    assert 0 < len(half) < len(fates)
    masked = explain(look, [(50, 100), (99, 8 * int(half[0]) + 4), (200, 100)])
    assert np.array_equal(masked.fates, fates)
    assert not (masked.fates[:, COVERED // 8 + 1 :] == Fate.MASKED).any()
    centres = masked.look.matches.keypoints0[masked.look.matches.reference == 0]
    assert (masked.fates == Fate.MATCHED).sum() >= len(centres) > 50
    whole, edge, beside = masked.points
    assert (whole.fate, whole.match, whole.fine) == (Fate.MASKED, None, None)
    assert edge.fate == Fate.MASKED and edge.match is None and edge.fine is not None
    assert beside.fate == Fate.MATCHED and beside.match is not None
    np.testing.assert_allclose(beside.match, explain(found.look, [(200, 100)]).points[0].match, atol=0.5)
    chosen = [divmod(point.cell, fates.shape[1]) for point in explain(look, []).points]
    assert all(column > COVERED // 8 for _, column in chosen[1::2]) and len(chosen) == 4
    assert all(column > COVERED // 8 or fates[row, column] != Fate.MATCHED for row, column in chosen)
    assert numbers_of(masked)["cells"]["masked"] == (masked.fates == Fate.MASKED).sum()


def test_masks_of_the_command(
    photos: tuple[Path, Path], masks: tuple[np.ndarray, np.ndarray, Path], tmp_path: Path, capsys: Any
) -> None:
    command = ["explain", *map(str, photos), "--out", str(tmp_path / "o"), "--long-side", "288", "--device", "cpu"]
    assert run([*command, "--at", "50,100", "--masks", str(masks[2])]) == 0
    assert "masked" in capsys.readouterr().out
    assert "is masked" in (tmp_path / "o" / "index.html").read_text(encoding="utf-8")
    (tmp_path / "none").mkdir()
    Image.new("L", (9, 9), 255).save(tmp_path / "b.png.png")
    for folder, message in (
        (tmp_path / "none", "holds no mask for these photos; name the mask of a.png a.png.png"),
        (tmp_path / "gone", "no such folder; name the folder of the masks with --masks"),
        (tmp_path, "is 9x9, but the stored pixels of b.png are 224x288"),
    ):
        assert run([*command, "--masks", str(folder)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("stored", ["sub/a.jpg.png", "a.jpg.png", "a.png", "top/sub/a.png"])
def test_a_mask_is_found_by_the_end_of_the_path(tmp_path: Path, stored: str) -> None:
    (tmp_path / stored).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / stored).touch()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.jpg.png").touch()
    for photo in (Path("/top/sub/a.jpg"), Path("../top/sub/a.jpg")):
        assert find_mask_by_path(tmp_path, photo) == tmp_path / stored
    assert find_mask_by_path(tmp_path, Path("c.jpg")) is None


def test_the_command(photos: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "look"
    command = ["explain", *map(str, photos), "--out", str(out), "--long-side", "288", "--device", "cpu"]
    assert run([*command, "--at", "100,90", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["points"][0]["at"] == [100, 90] and sum(said["cells"].values()) == (288 // 8) * (224 // 8)
    names = {"confidence.png", "fine.png", "index.html", "lost.png", "point-1.png", "scaling.png"}
    assert {path.name for path in out.iterdir()} == names
    assert all(cv2.imread(str(path)).std() > 10 for path in out.glob("*.png"))
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.startswith(MARK) and page.count("data:image/jpeg") == 5
    assert run([*command, "--at", "100,90"]) == 0  # again, over its own files
    capsys.readouterr()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("x")
    for more, message in (
        (["--at", "100"], "give x,y in pixels"),
        (["--at", "9999,1"], "outside of the first photo, which has 288x224 pixels"),
        (["--out", str(tmp_path / "mine")], "holds files that astr explain did not write"),
    ):
        arguments = command if more[0] == "--at" else [*command[:3], *command[5:]]
        assert run([*arguments, *more]) == 2
        assert message in capsys.readouterr().err
