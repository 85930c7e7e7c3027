"""Which matches of a second look make tracks."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from astr_cli.sfm.tracks.build import Tracks, build_tracks
from astr_cli.sfm.tracks.grid import ENOUGH, halvings, on_the_grid
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.store.joining import join_files
from astr_cli.store.types import PairMatches

from .conftest import Relief, Scene, Simulator

SCALE0, SCALE1 = np.array([0.5, 0.4]), np.array([1.0, 0.25])  # matched pixels per pixel
FAR = ((0, 5), (0, 4), (1, 5))  # pairs that are looked at again


def look(cell: int, cells: int) -> PairMatches:
    """A look at cells x cells cells of this many matched pixels; every other reference is in the second photo."""
    corner = 4.0 + cell * np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2)
    reference = np.arange(len(corner)) % 2
    at0, at1 = corner / SCALE0 - 0.5, corner / SCALE1 - 0.5
    off = np.array([0.7, 0.3])  # the other end lies anywhere
    return PairMatches(
        np.where(reference[:, None] == 0, at0, at0 + off).astype(np.float32),
        np.where(reference[:, None] == 1, at1, at1 + off).astype(np.float32),
        np.ones(len(corner), np.float32),
        reference.astype(np.uint8),
    )


def centres(matches: PairMatches) -> np.ndarray:
    """(M, 2) of the references, in matched pixels from the corner of the photo."""
    at0, at1 = (matches.keypoints0 + 0.5) * SCALE0, (matches.keypoints1 + 0.5) * SCALE1
    return np.where(matches.reference[:, None] == 0, at0, at1)


@pytest.mark.parametrize("cell", [2, 4, 8, 16, 32])
def test_halvings_equal_a_plain_loop(cell: int) -> None:
    found = look(cell, 21)
    known = [{4 + size * count for count in range(400)} for size in (8, 4)]
    expected = [
        next((number for number, grid in enumerate(known) if {round(x), round(y)} <= grid), 2)
        for x, y in centres(found)
    ]
    assert halvings(found, SCALE0, SCALE1).tolist() == expected


@pytest.mark.parametrize(
    ("cell", "cells", "taken"),
    [
        (8, 20, 8),  # a look at the matched size, all of it on the grid
        (16, 20, 16),
        (8, 3, 8),  # few, but all on the grid
        (4, 40, 8),
        (4, 20, 4),  # 100 on the grid
        (2, 60, 8),
        (2, 40, 4),  # 100 on the grid, 400 on cells of 4 pixels
        (2, 20, 2),
    ],
)
def test_a_pair_gives_its_matches_on_the_coarsest_cells_that_have_enough(cell: int, cells: int, taken: int) -> None:
    found = look(cell, cells)
    kept = on_the_grid(found, SCALE0, SCALE1)
    assert kept.tolist() == ((np.rint(centres(found)) - 4) % taken == 0).all(axis=1).tolist()
    assert kept.all() or int(kept.sum()) >= ENOUGH


def test_nothing_gives_nothing() -> None:
    assert on_the_grid(PairMatches.empty(), SCALE0, SCALE1).shape == (0,)


def tracks(path: Path) -> Tracks:
    with closing(StoredRows(join_files((path,)))) as rows:
        return build_tracks(rows)


def test_a_second_look_leaves_tracks_long(scene: Scene, tmp_path: Path) -> None:
    """Far pairs of the simulated photos, matched again at twice the size, beside whole photos only."""
    cameras = list(scene.cameras)
    dense = Simulator(cameras, Relief(cameras, 9.0), scene.long_side, coarse=1200, outliers=0.05)
    again = tuple(
        dense.match(*pair, cell=4) if pair in FAR else found
        for pair, found in zip(scene.pairs, scene.matches, strict=True)
    )
    second = replace(scene, matches=again)
    first = tracks(scene.write(tmp_path / "off.h5"))
    looked = tracks(second.write(tmp_path / "auto.h5", "photos", ("focus", "auto")))
    # What the rule is for, as files that do not say that they were looked at again are taken whole.
    whole = tracks(second.write(tmp_path / "whole.h5"))
    assert len(looked.lengths) >= 0.95 * len(first.lengths)
    assert looked.lengths.mean() >= 0.95 * first.lengths.mean()
    assert whole.lengths.mean() < 0.9 * first.lengths.mean()
