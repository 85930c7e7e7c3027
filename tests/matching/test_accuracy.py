"""With shipped weights: a photo against its own crop, whose true matches are known, through the whole Python API."""

import numpy as np
import pytest
import torch
from PIL import Image

from astr_cli import Matcher
from astr_cli.resources import shipped_weights
from astr_cli.scenes.textures import procedural_textures


@pytest.mark.skipif("astr-small" not in shipped_weights(), reason="weights/astr-small.safetensors is not there")
@pytest.mark.parametrize(
    ("long_side", "shift", "whole_cells"),
    [(320, (43, 29), False), (480, (43, 29), False), (480, (48, 56), True), (576, (40, 32), True)],
)
def test_crop_is_found_where_it_was_cut(tmp_path, long_side: int, shift: tuple[int, int], whole_cells: bool) -> None:
    pixels = procedural_textures(1, (544, 640), torch.Generator().manual_seed(5))[0, 0]
    whole = (pixels * 255).byte().numpy()
    x, y = shift
    Image.fromarray(whole[:448, :576]).save(tmp_path / "a.png")
    Image.fromarray(whole[y : y + 448, x : x + 576]).save(tmp_path / "b.png")
    found = Matcher.load("astr-small", device="cpu", long_side=long_side).match(tmp_path / "a.png", tmp_path / "b.png")
    assert len(found) >= 200
    error = found.keypoints0 - found.keypoints1 - shift
    assert np.median(np.linalg.norm(error, axis=1)) < 1.0
    # Shifts by whole cells leave the fine stage nothing to move: what is still off is a matter of coordinates.
    if whole_cells:
        assert abs(np.median(error, axis=0)).max() < 0.1
