"""Finding photos by name, and saying what was meant when there is none of that name."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astr_cli.images.catalogue import catalogue, find_images
from astr_cli.images.errors import ImageError


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.jpg", "B.JPG", "cam 1/é.png", "cam 1/DSC_0001.jpg", "deep/er/x.webp"):
        photo(tmp_path / name)
    return tmp_path


def test_find_images_is_recursive_sorted_and_knows_what_a_photo_is(root: Path) -> None:
    (root / "notes.txt").write_text("no photo")
    (root / "raw.nef").write_bytes(b"")
    photo(root / ".thumbnails" / "t.jpg")
    photo(root / "._a.jpg")
    assert find_images(root) == ["B.JPG", "a.jpg", "cam 1/DSC_0001.jpg", "cam 1/é.png", "deep/er/x.webp"]


def test_find_images_follows_linked_folders_once(root: Path, tmp_path: Path) -> None:
    photo(tmp_path / "more" / "m.jpg")
    (tmp_path / "more" / "loop").symlink_to(tmp_path / "more")
    (root / "linked").symlink_to(tmp_path / "more")
    names = find_images(root)
    assert sum(name.endswith("m.jpg") for name in names) == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no photos in this folder; name the photo folder$"),
        (["a.heic"], r"no photos.*convert a\.heic and similar files"),
        (["a.txt"], "no photos in this folder; name the photo folder$"),
    ],
)
def test_find_images_says_why_there_are_none(
    tmp_path: Path, files: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astr_cli.images.catalogue.has_heif", lambda: False)
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ImageError, match=message):
        find_images(tmp_path)


def test_masks_are_no_photos(tmp_path: Path) -> None:
    """Case 05. Not every PNG is one: b.png is no mask of b.jpg unless it lies where --masks says."""
    photos = ["a.jpg", "b.jpg", "b.png", "left/c.JPG", "x.png"]
    for name in [*photos, "a.jpg.png", "masks/a.jpg.png", "masks/left/c.JPG.png", "left/masks/c.JPG.PNG", "x.png.png"]:
        photo(tmp_path / name)
    assert find_images(tmp_path) == photos


def test_a_root_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, message in (("gone", "no such folder"), ("file", "is not a folder")):
        with pytest.raises(ImageError, match=message):
            find_images(tmp_path / name)
        with pytest.raises(ImageError, match=message):
            catalogue(tmp_path / name, ["a.jpg"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not store such names")
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    with pytest.raises(ImageError, match="not valid UTF-8; rename it"):
        find_images(tmp_path)


def test_every_name_is_in_one_of_the_two(root: Path) -> None:
    (root / "bad.jpg").write_bytes(b"text")
    found = catalogue(root, ["a.jpg", "bad.jpg", "a.jpg", "cam 1/é.png", "gone.jpg"])
    assert list(found.infos) == ["a.jpg", "cam 1/é.png"]
    assert list(found.errors) == ["bad.jpg", "gone.jpg"]
    assert found.infos["cam 1/é.png"].path == root / "cam 1/é.png"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("A.jpg", "a.jpg"),
        ("b.jpg", "B.JPG"),
        ("DSC_0001.jpg", "cam 1/DSC_0001.jpg"),
        ("cam 1\\DSC_0001.jpg", "cam 1/DSC_0001.jpg"),
        ("cam 1/e\u0301.png", "cam 1/é.png"),  # decomposed, as macOS writes it
        ("deep/er/x.jpg", "deep/er/x.webp"),
        ("cam 1/DSC_001.jpg", "cam 1/DSC_0001.jpg"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(root: Path, name: str, meant: str) -> None:
    if (root / name).exists():
        pytest.skip("this file system takes the two names for one")
    assert catalogue(root, [name]).errors[name] == f"{name}: no such image in {root}; did you mean {meant}?"


def test_nothing_near(root: Path) -> None:
    assert catalogue(root, ["zzzzzzzzzzzz"]).errors["zzzzzzzzzzzz"].endswith("is --images the right folder?")


def test_thousands_of_wrong_names_stay_cheap(tmp_path: Path) -> None:
    """Wrong names cost little more than right ones: names are looked up, and compared for the first few only."""
    for number in range(3000):
        (tmp_path / f"IMG_{number:05d}.jpg").touch()
    begin = time.process_time()
    catalogue(tmp_path, [f"IMG_{number:05d}.jpg" for number in range(3000)])  # all empty: opened and refused
    right = time.process_time() - begin
    found = catalogue(tmp_path, [f"sub/img_{number:05d}.JPG" for number in range(3000)])
    far = catalogue(tmp_path, [f"DSC{number * 7:06d}.png" for number in range(3000)])
    assert time.process_time() - begin < 20 * right + 2
    assert found.errors["sub/img_00017.JPG"].endswith("did you mean IMG_00017.jpg?")
    assert len(far.errors) == 3000
