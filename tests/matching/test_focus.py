"""`--focus auto` with the shipped weights: a close-up matches better, on one grid, and the same however it is run."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from astr_cli import Matcher
from astr_cli.cli.match_lines import summary_lines
from astr_cli.matching.run.events import MatchSummary
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.matching import MatchOptions
from astr_cli.scenes.textures import procedural_textures
from astr_cli.store.errors import JournalMismatch
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches

CORNER, SIDES = np.array([400, 220]), np.array([280, 210])  # what the close-up shows of the whole
LONG_SIDE = 320
ZOOM = 10 / 7  # the close-up's pixels per pixel of the whole


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 800 x 600, a close-up of a part of it, enlarged, and the same turned."""
    folder = tmp_path_factory.mktemp("zoom")
    whole = (procedural_textures(1, (600, 800), torch.Generator().manual_seed(5))[0, 0] * 255).byte().numpy()
    part = Image.fromarray(whole[CORNER[1] :, CORNER[0] :][: SIDES[1], : SIDES[0]])
    part = part.resize((400, 300), Image.Resampling.BICUBIC)
    Image.fromarray(whole).save(folder / "whole.png")
    part.save(folder / "part.png")
    Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(part)))).save(folder / "turned.png")
    return folder


@pytest.fixture(scope="module")
def looked(photos: Path) -> tuple[PairMatches, MatchSummary]:
    """The close-up, looked at again."""
    return run(photos, "auto", focus="auto")


def run(photos: Path, name: str, second: str = "part.png", **changes: object) -> tuple[PairMatches, MatchSummary]:
    pairs = photos / f"{name}.txt"
    pairs.write_text(f"whole.png {second}\n")
    options = MatchOptions(
        pairs=pairs, out=photos / f"{name}.h5", images=photos, long_side=LONG_SIDE, device="cpu", **changes
    )
    summary = match_pairs(options)
    with MatchesFile(options.out) as file:
        return file.read("whole.png", second), summary


def errors(found: PairMatches) -> np.ndarray:
    """Distances to the truth, in pixels of the close-up."""
    truth = (found.keypoints0 - CORNER + 0.5) * ZOOM - 0.5
    return np.linalg.norm(found.keypoints1 - truth, axis=1)


def test_a_close_up_gets_more_matches_and_better_ones(photos: Path, looked: tuple[PairMatches, MatchSummary]) -> None:
    first, summary = run(photos, "off", focus="off")
    assert summary.looked_again == 0
    found, summary = looked
    assert summary.looked_again == 1
    assert "looked again at a part of 1 pair" in summary_lines(summary)
    assert len(found) >= 200
    assert len(found) > 2 * len(first)
    assert np.median(errors(found)) < 0.4 * np.median(errors(first))


def test_cells_lie_on_the_grid_of_the_whole_photo(looked: tuple[PairMatches, MatchSummary]) -> None:
    found, _ = looked
    for side, points, size, matched in (
        (0, found.keypoints0, (800, 600), (320, 256)),
        (1, found.keypoints1, (400, 300), (320, 256)),
    ):
        own = (points[found.reference == side] + 0.5) * np.divide(matched, size)
        cells = (own - 4) / 2  # two pixels: cells of the largest level
        np.testing.assert_allclose(cells, np.rint(cells), atol=1e-3)
        assert (np.abs((own - 4) / 8 - np.rint((own - 4) / 8)).max(axis=1) < 1e-3).mean() > 0.05


def test_again_and_from_python_it_is_the_same(photos: Path, looked: tuple[PairMatches, MatchSummary]) -> None:
    found, _ = looked
    run(photos, "again", focus="auto", jobs=1, memory=0)
    assert (photos / "auto.h5").read_bytes() == (photos / "again.h5").read_bytes()
    matcher = Matcher.load(device="cpu", long_side=LONG_SIDE, focus="auto")
    same = matcher.match(photos / "whole.png", np.asarray(Image.open(photos / "part.png")))
    for name in ("keypoints0", "keypoints1", "scores", "reference"):
        assert np.array_equal(getattr(same, name), getattr(found, name))


def test_turned_and_masked_photos_are_looked_at_again(photos: Path) -> None:
    masks = photos / "masks"
    masks.mkdir()
    mask = np.full((600, 800), 255, np.uint8)
    mask[:, 600:] = 0
    Image.fromarray(mask).save(masks / "whole.png.png")
    found, summary = run(photos, "turned", "turned.png", focus="auto", rotate="auto", masks=masks)
    assert summary.looked_again == 1
    assert len(found) >= 200
    assert found.keypoints0[:, 0].max() < 600
    x, y = found.keypoints1.T
    upright = PairMatches(found.keypoints0, np.stack([399 - y, x], axis=1), found.scores, found.reference)
    assert np.median(errors(upright)) < 1


def test_results_with_focus_are_not_mixed_with_others(photos: Path, looked: tuple[PairMatches, MatchSummary]) -> None:
    with pytest.raises(JournalMismatch, match="focus: auto -> off"):
        run(photos, "auto", focus="off")
