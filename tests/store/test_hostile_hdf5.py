"""matches.h5 made to read other files, to claim more than it holds, or to hold what no photo has."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from astr_cli.store.errors import StoreError
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import ARRAYS
from astr_cli.store.writer import write_matches

from .matches_helpers import OPTIONS, entry

KEY = "a.jpg/b.jpg"
ROWS = 5
Attack = Callable[[h5py.Group, Path], None]


def external_link(group: h5py.Group, other: Path) -> None:
    group["scores"] = h5py.ExternalLink(other, "scores")


def soft_link(group: h5py.Group, other: Path) -> None:
    group["scores"] = h5py.SoftLink(f"/{KEY}/keypoints0")


def external_storage(group: h5py.Group, other: Path) -> None:
    group.create_dataset("scores", (ROWS,), "<f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual_dataset(group: h5py.Group, other: Path) -> None:
    layout = h5py.VirtualLayout((ROWS,), "<f4")
    layout[:] = h5py.VirtualSource(other, "scores", (ROWS,))
    group.create_virtual_dataset("scores", layout)


def declared_rows(group: h5py.Group, other: Path) -> None:
    group.create_dataset("scores", (1 << 28,), "<f4", chunks=(1 << 16,))


def declared_contiguous(group: h5py.Group, other: Path) -> None:
    group.create_dataset("scores", (1 << 28,), "<f4")


def gzip_bomb(group: h5py.Group, other: Path) -> None:
    group.create_dataset("scores", data=np.zeros(1 << 22, np.float32), chunks=(1 << 20,), compression="gzip")


def a_group(group: h5py.Group, other: Path) -> None:
    group.create_group("scores")


@pytest.mark.parametrize(
    "attack",
    (
        *(external_link, soft_link, external_storage, virtual_dataset),
        *(declared_rows, declared_contiguous, gzip_bomb, a_group),
    ),
)
def test_datasets_are_refused_before_they_are_read(tmp_path: Path, attack: Attack) -> None:
    other = tmp_path / "secret.h5"
    with h5py.File(other, "w") as file:
        file["scores"] = np.full(ROWS, 0.5, np.float32)
    path = tmp_path / "m.h5"
    write_matches(path, OPTIONS, [entry("a.jpg", "b.jpg", ROWS)])
    with h5py.File(path, "r+") as file:
        del file[KEY]["scores"]
        attack(file[KEY], other)
    tracemalloc.start()
    with MatchesFile(path, indexed=False) as matches:
        for read in (matches.read, matches.count):
            with pytest.raises(StoreError, match=r"m\.h5: damaged \(scores "):
                read("a.jpg", "b.jpg")
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("external", [True, False])
def test_groups_are_not_followed_elsewhere(tmp_path: Path, depth: int, external: bool) -> None:
    path, other = tmp_path / "m.h5", tmp_path / "other.h5"
    for each in (path, other):
        write_matches(each, OPTIONS, [entry("a.jpg", "b.jpg", ROWS)])
    place = "/".join(KEY.split("/")[:depth])
    with h5py.File(path, "r+") as file:
        file.move(place, "moved")
        file[place] = h5py.ExternalLink(other, f"/{place}") if external else h5py.SoftLink("/moved")
    with MatchesFile(path, indexed=False) as matches:
        with pytest.raises(StoreError):
            matches.pairs()
        with pytest.raises(StoreError):
            matches.read("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("keypoints0", 1e38, "keypoints0 are outside of the photo of 4000x3000"),
        ("keypoints0", -1e38, "keypoints0 are outside"),
        ("keypoints1", 900.0, "keypoints1 are outside of the photo of 640x480"),
        ("scores", 1.5, "scores are outside"),
        ("scores", -0.25, "scores are outside"),
    ],
)
def test_values_that_no_photo_has(tmp_path: Path, name: str, value: float, message: str) -> None:
    path = tmp_path / "m.h5"
    write_matches(path, OPTIONS, [entry("a.jpg", "b.jpg", ROWS)])
    with h5py.File(path, "r+") as file:
        file[KEY][name][2] = value
    with MatchesFile(path, indexed=False) as matches, pytest.raises(StoreError, match=message):
        matches.read("a.jpg", "b.jpg")


def test_points_just_over_the_edge_are_the_networks(tmp_path: Path) -> None:
    """The fine stage moves by less than a cell of the matched size."""
    path = tmp_path / "m.h5"
    write_matches(path, OPTIONS, [entry("a.jpg", "b.jpg", ROWS)._replace(matched0=(800, 608), matched1=(640, 480))])
    with h5py.File(path, "r+") as file:
        file[KEY]["keypoints0"][2] = (-40, 3038)
    with MatchesFile(path, indexed=False) as matches:
        assert len(matches.read("a.jpg", "b.jpg")) == ROWS
    with h5py.File(path, "r+") as file:
        file[KEY]["keypoints0"][2] = (-41, 0)
    with MatchesFile(path, indexed=False) as matches, pytest.raises(StoreError, match="outside"):
        matches.read("a.jpg", "b.jpg")


def test_every_array_is_stored_as_it_is(tmp_path: Path) -> None:
    write_matches(tmp_path / "m.h5", OPTIONS, [entry("a.jpg", "b.jpg", rows) for rows in (0,)])
    with h5py.File(tmp_path / "m.h5") as file:
        assert {file[KEY][spec.name].chunks for spec in ARRAYS} == {None}
    with MatchesFile(tmp_path / "m.h5") as matches:
        assert len(matches.read("a.jpg", "b.jpg")) == 0
