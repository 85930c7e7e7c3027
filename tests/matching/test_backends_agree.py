"""With shipped weights, on real photos: whichever backend attends, the matches are the same."""

from pathlib import Path

import numpy as np
import pytest
import torch

from astr_cli import Matcher
from astr_cli.matching.matcher import Matches
from astr_cli.ops.backends import VARIABLE, numba_problem
from astr_cli.resources import shipped_weights

SCENES = Path(__file__).parents[3] / "shared" / "data" / "scenes"
NUMBA, NO_GPU = f"{numba_problem()}: torch is the only backend on a CPU", "no NVIDIA GPU"
ON_NVIDIA = torch.version.cuda is not None and torch.cuda.is_available()
PAIRS = (("fountain-P11", 0), ("entry-P10", 20), ("tum-fr3-office", 40))


def on_the_grid(matches: Matches) -> dict[tuple[float, ...], np.ndarray]:
    """The refined point of each row by the row's resting one, which is a cell's centre, and its side."""
    resting = np.where(matches.reference[:, None] == 0, matches.keypoints0, matches.keypoints1)
    moved = np.where(matches.reference[:, None] == 0, matches.keypoints1, matches.keypoints0)
    return {(side, *at): to for side, at, to in zip(matches.reference, resting.tolist(), moved, strict=True)}


DEVICES = (
    pytest.param("cpu", ("torch", "numba"), marks=pytest.mark.skipif(numba_problem() is not None, reason=NUMBA)),
    pytest.param("cuda", ("torch", "cuda"), marks=[pytest.mark.gpu, pytest.mark.skipif(not ON_NVIDIA, reason=NO_GPU)]),
)


@pytest.mark.skipif("astr-small" not in shipped_weights(), reason="weights/astr-small.safetensors is not there")
@pytest.mark.skipif(not SCENES.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize(("scene", "row"), PAIRS)
@pytest.mark.parametrize(("device", "backends"), DEVICES)
def test_backends_give_the_same_matches(
    device: str, backends: tuple[str, str], scene: str, row: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (SCENES / scene / "pairs.txt").read_text(encoding="utf-8").splitlines()[row].split()
    photos = [SCENES / scene / "images" / name for name in names]
    matcher = Matcher.load("astr-small", device=device, precision="fp32", long_side=480)
    found = []
    for backend in backends:
        monkeypatch.setenv(VARIABLE, backend)
        found.append(on_the_grid(matcher.match(*photos)))
    first, second = found
    assert len(first) >= 200
    assert len(first.keys() ^ second.keys()) <= 0.001 * len(first)
    apart = np.array([np.abs(first[place] - second[place]).max() for place in first.keys() & second.keys()])
    # A match with a flat heat map makes more of its last bits.
    assert (apart < 0.01).mean() > 0.998 and apart.max() < 0.1
