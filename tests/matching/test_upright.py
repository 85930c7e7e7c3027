"""Photos that lie on their side: by EXIF, or found out; and their points on the raw grid. With the shipped weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from astr_cli.matching.matcher import Matcher
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.matching import MatchOptions
from astr_cli.store.errors import JournalMismatch
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches

SHIFT = (16, 8)  # cells apart, so that the matches are good ones


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two overlapping photos, and the second one turned: pixels of a photo turned by code c are stored as it says."""
    import torch

    from astr_cli.scenes.textures import procedural_textures

    folder = tmp_path_factory.mktemp("turned")
    pixels = (procedural_textures(1, (248, 336), torch.Generator().manual_seed(3))[0, 0] * 255).byte().numpy()
    first, second = pixels[:240, :320], pixels[SHIFT[1] :, SHIFT[0] :]
    Image.fromarray(first).save(folder / "first.png")
    for quarters in range(4):
        stored = Image.fromarray(np.ascontiguousarray(np.rot90(second, quarters)))
        stored.save(folder / f"second{quarters}.png")
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = {0: 1, 1: 6, 2: 3, 3: 8}[quarters]
        stored.save(folder / f"exif{quarters}.png", exif=exif)
    return folder


def matched(folder: Path, second: str, rotate: str) -> PairMatches:
    pairs = folder / f"{second}.txt"
    pairs.write_text(f"first.png {second}.png\n")
    options = MatchOptions(
        pairs=pairs, out=folder / f"{second}-{rotate}.h5", images=folder, long_side=320, device="cpu", rotate=rotate
    )
    match_pairs(options)
    with MatchesFile(options.out) as file:
        return file.read("first.png", f"{second}.png")


def errors(found: PairMatches, quarters: int) -> np.ndarray:
    """Distances from the truth, in pixels, with the second photo's points turned back from the stored grid."""
    x, y = found.keypoints1.T
    upright = {0: (x, y), 1: (319 - y, x), 2: (319 - x, 239 - y), 3: (y, 239 - x)}[quarters]
    return np.linalg.norm(np.stack(upright, axis=1) + SHIFT - found.keypoints0, axis=1)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize(("name", "rotate"), [("exif", "exif"), ("second", "auto"), ("exif", "auto")])
def test_turned_photos_match_as_upright_ones(photos: Path, name: str, rotate: str, quarters: int) -> None:
    upright = matched(photos, "second0", "none")
    assert len(upright) >= 200
    found = matched(photos, f"{name}{quarters}", rotate)
    assert len(found) >= 0.95 * len(upright)
    assert np.median(errors(found, quarters)) <= 1.1 * np.median(errors(upright, 0)) < 1.1


def test_the_api_makes_upright_too(photos: Path) -> None:
    matcher = Matcher.load(device="cpu", long_side=320)
    found = matcher.match(photos / "first.png", photos / "exif1.png")
    assert len(found) >= 200
    stored = matched(photos, "exif1", "exif")
    assert np.array_equal(found.keypoints1, stored.keypoints1)


def test_another_way_of_turning_is_another_run(photos: Path) -> None:
    matched(photos, "second0", "exif")
    options = MatchOptions(
        pairs=photos / "second0.txt", out=photos / "second0-exif.h5", images=photos, long_side=320, device="cpu"
    )
    with pytest.raises(JournalMismatch, match="rotate: exif -> none"):
        match_pairs(replace(options, rotate="none"))
