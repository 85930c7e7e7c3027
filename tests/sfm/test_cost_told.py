"""What `astr reconstruct` says before it matches many pairs."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
from PIL import Image

from astr_cli.options.matching import MatchOptions
from astr_cli.scenes.textures import procedural_textures
from astr_cli.sfm.reconstruction import reconstruct as module


@pytest.fixture
def matching(tmp_path: Path) -> MatchOptions:
    """Four small photos, all pairs."""
    pixels = (procedural_textures(4, (96, 128), torch.Generator().manual_seed(1))[:, 0] * 255).byte().numpy()
    names = [f"{number}.png" for number in range(4)]
    for name, photo in zip(names, pixels, strict=True):
        Image.fromarray(photo).save(tmp_path / name)
    (tmp_path / "pairs.txt").write_text("".join(f"{a} {b}\n" for a, b in combinations(names, 2)))
    pairs, out = tmp_path / "pairs.txt", tmp_path / "m.h5"
    return MatchOptions(pairs=pairs, out=out, images=tmp_path, device="cpu", long_side=64)


def test_the_time_of_many_pairs_is_told_beforehand(matching: MatchOptions) -> None:
    told: list[str] = []
    module._tell_cost(matching, module.MANY_PAIRS, told.append)
    assert len(told) == 1 and told[0].startswith("400 pairs to match: about ") and "s per pair" in told[0]
    assert not matching.out.exists()


def test_few_pairs_and_a_run_that_has_begun_need_no_sample(matching: MatchOptions) -> None:
    told: list[str] = []
    module._tell_cost(matching, module.MANY_PAIRS - 1, told.append)
    matching.out.with_name("m.h5.journal").mkdir()
    module._tell_cost(matching, module.MANY_PAIRS, told.append)
    assert told == []
