"""Runs with photos that are damaged, unusual or too large."""

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.matching.resources import memory
from astr_cli.store.matches_file import MatchesFile


def save_as(root: Path, name: str, suffix: str) -> str:
    """The photo `name` in another format; its new name."""
    with Image.open(root / name) as image:
        image.save((root / name).with_suffix(suffix))
    return str(Path(name).with_suffix(suffix))


def test_a_broken_avif_is_left_out(scene: Any, capfd: Any) -> None:
    good, bad = (save_as(scene.root, scene.names[number], ".avif") for number in (0, 1))
    data = (scene.root / bad).read_bytes()
    (scene.root / bad).write_bytes(data[: len(data) // 2])
    scene.write_pairs([(good, scene.names[2]), (good, bad), (bad, scene.names[3])])
    assert run(scene.arguments()) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert run(scene.arguments("m.h5", "--skip-bad")) == 3
    with MatchesFile(scene.root / "m.h5") as file:
        assert file.count(good, scene.names[2]) > 0


def test_webp_avif_and_float_tiff_are_matched(scene: Any) -> None:
    """Case 16, and the formats that only astr reads."""
    names = [
        save_as(scene.root, scene.names[number], suffix) for number, suffix in enumerate((".webp", ".avif", ".jp2"))
    ]
    gray = cv2.imread(str(scene.root / scene.names[3]))
    cv2.imwrite(str(scene.root / "float.tif"), (gray / 255).astype(np.float32))
    names.append("float.tif")
    scene.write_pairs([(names[0], names[1]), (names[1], names[2]), (names[2], names[3])])
    assert run(scene.arguments()) == 0
    with MatchesFile(scene.root / "m.h5") as file:
        assert all(file.count(a, b) > 0 for a, b in itertools.pairwise(names))


def test_photos_too_large_for_the_memory(scene: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    Image.new("L", (1600, 1200)).save(scene.root / "large.png")
    scene.write_pairs([(scene.names[0], scene.names[1]), (scene.names[0], "large.png")])
    monkeypatch.setattr(memory, "LEAST_DECODING", 1_000_000)
    assert run(scene.arguments("m.h5", "--memory", "10M")) == 2
    message = "large.png: decoding its 1600x1200 pixels takes about 0.0 GB, more than the limit of 0.0 GB"
    assert message in capfd.readouterr().err
    assert run(scene.arguments("m.h5", "--memory", "10M", "--skip-bad")) == 3
    assert run(scene.arguments("n.h5", "--memory", "20M")) == 0
