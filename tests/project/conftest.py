"""Two photos that any weights worth shipping can match."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from astr_cli.scenes.textures import procedural_textures

SHIFT = 24  # pixels from the left photo to the right one


@pytest.fixture(scope="session")
def write_pair() -> Callable[[Path, str, str], int]:
    """Writes two photos of one wall, and says how many pixels to the left everything stands in the second."""

    def write(folder: Path, name0: str, name1: str) -> int:
        texture = procedural_textures(2, (256, 320 + SHIFT), torch.Generator().manual_seed(5))[1, 0]
        for name, view in ((name0, texture[:, :-SHIFT]), (name1, texture[:, SHIFT:])):
            Image.fromarray((view * 255).byte().numpy()).save(folder / name, quality=95)
        return SHIFT

    return write
