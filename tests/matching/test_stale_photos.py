"""A photo is the same when its bytes are: whatever its time, its inode and the place of the project."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from astr_cli.matching.run.match import match_pairs

FUTURE = time.time() + 10**8


@pytest.fixture
def photos(scene: Any, texture: np.ndarray) -> Any:
    """Four photos of one file size, as uncompressed TIFF; six pairs."""
    names = [f"photo{number}.tif" for number in range(4)]
    for number, name in enumerate(names):
        write(scene.root / name, texture, 9 * number)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    scene.write_pairs(pairs)
    return scene


def write(path: Path, texture: np.ndarray, shift: int) -> None:
    Image.fromarray(texture[shift : shift + 128, shift : shift + 160]).save(path, compression=None)


def age(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


@pytest.mark.parametrize("when", [pytest.param(10**9, id="past"), pytest.param(FUTURE, id="future")])
@pytest.mark.parametrize("in_place", [False, True])
def test_another_photo_of_the_same_size_and_any_time(
    photos: Any, texture: np.ndarray, when: float, in_place: bool
) -> None:
    """As `mv`, `cp -p` and `rsync -t` leave it, or an editor that keeps the time."""
    photo = photos.root / "photo1.tif"
    age(photo, when)
    assert match_pairs(photos.options()).matched == 6
    size = photo.stat().st_size
    target = photo if in_place else photos.root / "new.tif"
    write(target, texture, 60)
    age(target, when)
    if not in_place:
        target.replace(photo)
    assert photo.stat().st_size == size
    again = match_pairs(photos.options())
    assert (again.matched, again.reused) == (3, 3)
    fresh = match_pairs(photos.options("fresh.h5"))
    assert (fresh.matched, photos.bytes()) == (6, photos.bytes("fresh.h5"))


def test_new_times_alone_change_nothing(photos: Any) -> None:
    match_pairs(photos.options())
    for when in (10**9, FUTURE):
        for path in photos.root.glob("*.tif"):
            age(path, when)
        assert match_pairs(photos.options()).reused == 6


def test_a_copied_and_a_moved_project_is_the_same(photos: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    match_pairs(photos.options())
    place = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(photos.root, place, copy_function=shutil.copy)  # with new times
    copied = type(photos)(place, photos.names, photos.pairs, photos.weights)
    assert match_pairs(copied.options()).reused == 6
    place.rename(place.with_name("moved"))
    moved = type(photos)(place.with_name("moved"), photos.names, photos.pairs, photos.weights)
    assert match_pairs(moved.options()).reused == 6
    # The cache of hashes is no part of the truth.
    (moved.root / ".m.h5.astr-hashes").write_text("[" * 100_000)
    assert match_pairs(moved.options()).reused == 6


def test_a_changed_photo_in_a_copied_project(
    photos: Any, texture: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The matches are younger than the photos there: their times say nothing."""
    match_pairs(photos.options())
    write(photos.root / "photo2.tif", texture, 70)
    place = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(photos.root, place, copy_function=shutil.copy)
    os.utime(place / "m.h5")
    copied = type(photos)(place, photos.names, photos.pairs, photos.weights)
    assert match_pairs(copied.options()).matched == 3


def test_an_interrupted_run_is_resumed_by_content(photos: Any, texture: np.ndarray, recorder: Any) -> None:
    import signal

    from astr_cli.errors import Interrupted
    from astr_cli.matching.run.events import PairDone

    def stop(event: Any) -> None:
        if isinstance(event, PairDone) and event.finished == 3:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        match_pairs(photos.options(batch=1, jobs=1), recorder(stop))
    for path in photos.root.glob("*.tif"):
        age(path, 10**9)
    resumed = match_pairs(photos.options(batch=1, jobs=1))
    assert resumed.reused >= 3


def test_one_more_mask_matches_its_pairs_again(photos: Any) -> None:
    """Photos without masks, and those whose masks stay, keep their pairs."""
    masks = photos.root / "masks"
    masks.mkdir()
    black = np.full((128, 160), 255, np.uint8)
    black[:40] = 0
    Image.fromarray(black).save(masks / "photo0.tif.png")
    assert match_pairs(photos.options(masks=masks)).matched == 6
    Image.fromarray(black).save(masks / "photo3.tif.png")
    again = match_pairs(photos.options(masks=masks))
    assert (again.matched, again.reused) == (3, 3)
    (masks / "notes.txt").write_text("a file more")
    assert match_pairs(photos.options(masks=masks)).reused == 6
    (masks / "photo3.tif.png").unlink()
    assert match_pairs(photos.options(masks=masks)).matched == 3
    Image.fromarray(255 - black).save(masks / "photo0.tif.png")
    assert match_pairs(photos.options(masks=masks)).matched == 3
