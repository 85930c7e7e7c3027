"""Folders of MegaDepth that are refused, each with what is wrong."""

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.train.megadepth import _read_frame, load_megadepth

from .megadepth_folder import (
    HEIGHT,
    INTRINSICS,
    NUMBERS,
    WIDTH,
    depth_name,
    files_of,
    index_content,
    of_objects,
    photo_name,
    write_depth,
    write_index,
)


def test_the_command_takes_a_folder(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "train" / depth_name(1)).unlink()
    photos = str(root / "train" / "Undistorted_SfM")
    targets = (["--contact-sheet", str(tmp_path / "sheets")], ["--out", str(tmp_path / "run"), "--device", "cpu"])
    for target in targets:
        assert run(["train", "--photos", photos, "--megadepth", str(root), *target]) == 2
        error = capsys.readouterr().err
        assert "dense0/depths/1.h5 is missing; put it there" in error and "Traceback" not in error


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    for wrong in (tmp_path / "nowhere", root / "train"):
        with pytest.raises(AstrError, match="contains no index file of MegaDepth"):
            load_megadepth(wrong)
    photo, depth = root / "train" / photo_name(0), root / "train" / depth_name(2)
    depth.rename(depth.with_suffix(".gone"))
    with pytest.raises(AstrError, match=r"0001_0\.1_0\.3\.npz: photo 4: .*depths/2\.h5 is missing; put it there"):
        load_megadepth(root)
    depth.with_suffix(".gone").rename(depth)
    photo.unlink()
    with pytest.raises(AstrError, match=r"0001_0\.1_0\.3\.npz: its photos were not found: no .*images/0\.png"):
        load_megadepth(root)


def test_a_depth_map_that_is_none_is_named(root: Path) -> None:
    found = load_megadepth(root)
    path = root / "train" / depth_name(0)
    write_depth(path, np.ones((HEIGHT, WIDTH // 2)))
    with pytest.raises(AstrError, match=r"0\.h5: 100x150, but .*0\.png is 200x150: not the same view"):
        _read_frame(files_of(found, 0))
    write_depth(path, np.ones(7))
    with pytest.raises(AstrError, match=r"0\.h5: not a depth map, .*its shape is \(7,\)"):
        _read_frame(files_of(found, 0))
    with h5py.File(path, "w") as file:
        file["deep"] = np.ones((HEIGHT, WIDTH))
    with pytest.raises(AstrError, match=r"0\.h5: not a depth map, HDF5 with a dataset 'depth'"):
        _read_frame(files_of(found, 0))
    path.write_bytes(b"nothing")
    with pytest.raises(AstrError, match=r"0\.h5: not a depth map"):
        found.batch(8, 32, torch.Generator().manual_seed(0))


def without_entry(key: str, entry: Any = None) -> dict[str, Any]:
    content = index_content((0, 1, 0.4))
    content[key][NUMBERS[1]] = entry
    return content


MIRRORED = np.diag((2.0, 1, 1, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (index_content((0, 1, 0.8), (1, 2, 0.05)), r"no pair with an overlap of 0\.1 to 0\.7 in 1 index file"),
        (
            {k: v for k, v in index_content((0, 1, 0.4)).items() if k != "pair_infos"},
            "contains no index file of MegaDepth",
        ),
        ({**index_content(), "pair_infos": of_objects([(1, 0.4)])}, "pair 1: expected the numbers of two photos"),
        ({**index_content(), "pair_infos": of_objects([((1, 2, 4), 0.4)])}, "pair 1: expected the numbers of two"),
        ({**index_content(), "pair_infos": of_objects([((1, 2),)])}, "pair 1: expected .* and their overlap"),
        ({**index_content(), "pair_infos": of_objects([((1, 9), 0.4)])}, "a pair refers to photo 9, but image_paths"),
        ({**index_content(), "pair_infos": of_objects([((-1, 2), 0.4)])}, "a pair refers to photo -1, but image_paths"),
        (without_entry("image_paths"), "a pair refers to photo 2, but image_paths has no such entry"),
        (without_entry("depth_paths"), "a pair refers to photo 2, but depth_paths has no such entry"),
        (without_entry("intrinsics"), r"photo 2: expected intrinsics \(3, 3\) and a pose"),
        (without_entry("poses"), r"photo 2: expected intrinsics \(3, 3\) and a pose"),
        (without_entry("poses", MIRRORED), "photo 2: R is not a rotation"),
        (without_entry("intrinsics", INTRINSICS * math.nan), "photo 2: expected finite K"),
    ],
)
def test_a_wrong_index_is_refused(root: Path, content: dict[str, Any], message: str) -> None:
    for path in (root / "index").rglob("*.npz"):
        path.unlink()
    write_index(root, "0001_0.1_0.3", content)
    with pytest.raises(AstrError, match=message) as caught:
        load_megadepth(root)
    assert "\n" not in str(caught.value)


class Danger:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_a_damaged_or_dangerous_index_is_refused_and_another_archive_passed_over(root: Path) -> None:
    np.savez(root / "other.npz", numbers=np.arange(3))
    assert len(load_megadepth(root).scenes) == 2
    path = write_index(root, "0002_0.1_0.3", {"image_paths": Danger()})
    with pytest.raises(AstrError, match=r"0002_0\.1_0\.3\.npz: wants to run"):
        load_megadepth(root)
    np.savez(path, **index_content((0, 1, 0.4)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(AstrError, match=r"0002_0\.1_0\.3\.npz: cannot be read"):
        load_megadepth(root)
