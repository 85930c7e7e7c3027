"""Drawings replace drawings, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from astr_cli.images.drawing import DrawingFolder

CANVAS = np.full((32, 64, 3), 90, np.uint8)


def test_a_photo_keeps_its_name(tmp_path: Path) -> None:
    photo = tmp_path / "a_b.jpg"
    cv2.imwrite(str(photo), CANVAS)
    before = photo.read_bytes()
    for _ in range(2):  # the second run replaces the drawing of the first
        assert DrawingFolder(tmp_path).write(CANVAS, "a.jpg", "b.jpg") == tmp_path / "a_b-2.jpg"
    assert photo.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_b-2.jpg", "a_b.jpg"]
    assert cv2.imread(str(tmp_path / "a_b-2.jpg")).shape == CANVAS.shape


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_keeps_its_name(tmp_path: Path) -> None:
    drawn = DrawingFolder(tmp_path / "other").write(CANVAS, "a.jpg", "b.jpg")
    before = drawn.stat().st_mtime_ns
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a_b.jpg").symlink_to(drawn)
    DrawingFolder(tmp_path / "plots").write(CANVAS, "a.jpg", "b.jpg")
    assert (tmp_path / "plots" / "a_b.jpg").is_symlink()
    assert drawn.stat().st_mtime_ns == before


def test_names_that_differ_in_their_suffix(tmp_path: Path) -> None:
    folder = DrawingFolder(tmp_path)
    found = [folder.write(CANVAS, *names).name for names in (("a.jpg", "b"), ("a.png", "b"), ("a.png", "b"))]
    assert found == ["a_b.jpg", "a-png_b.jpg", "a-png_b-2.jpg"]
