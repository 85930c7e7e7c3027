"""With shipped weights, on real photos: whichever backend attends, the matches are the same."""

from pathlib import Path

import numpy as np
import pytest

from astr_cli import Matcher
from astr_cli.matching import Matches
from astr_cli.ops.backends import VARIABLE, numba_problem
from astr_cli.resources import shipped_weights

SCENES = Path(__file__).parents[3] / "shared" / "data" / "scenes"
PAIRS = (("fountain-P11", 0), ("entry-P10", 20), ("tum-fr3-office", 40))


def on_the_grid(matches: Matches) -> dict[tuple[float, ...], np.ndarray]:
    """The refined point of each row by the row's resting one, which is a cell's centre, and its side."""
    resting = np.where(matches.reference[:, None] == 0, matches.keypoints0, matches.keypoints1)
    moved = np.where(matches.reference[:, None] == 0, matches.keypoints1, matches.keypoints0)
    return {(side, *at): to for side, at, to in zip(matches.reference, resting.tolist(), moved, strict=True)}


@pytest.mark.skipif("astr-small" not in shipped_weights(), reason="weights/astr-small.safetensors is not there")
@pytest.mark.skipif(not SCENES.is_dir(), reason="../shared/data is not here")
@pytest.mark.skipif(numba_problem() is not None, reason=f"{numba_problem()}: torch is the only backend here")
@pytest.mark.parametrize(("scene", "row"), PAIRS)
def test_torch_and_numba_give_the_same_matches(scene: str, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = (SCENES / scene / "pairs.txt").read_text(encoding="utf-8").splitlines()[row].split()
    photos = [SCENES / scene / "images" / name for name in names]
    matcher = Matcher.load("astr-small", device="cpu", long_side=480)
    found = []
    for backend in ("torch", "numba"):
        monkeypatch.setenv(VARIABLE, backend)
        found.append(on_the_grid(matcher.match(*photos)))
    torchs, numbas = found
    assert len(torchs) >= 200
    assert len(torchs.keys() ^ numbas.keys()) <= 0.001 * len(torchs)
    apart = [np.abs(torchs[place] - numbas[place]).max() for place in torchs.keys() & numbas.keys()]
    assert max(apart) < 0.01
