"""Who shares a camera."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.sfm.database.importing import import_matches

FILM, MAKE, MODEL = 0xA405, 0x010F, 0x0110


def write_exif(path: Path, size: tuple[int, int], film: int | None, make: str = "") -> None:
    """A photo with a focal length (35-mm equivalent), and perhaps the name of its camera."""
    exif = Image.Exif()
    if film is not None:
        exif[0x8769] = {FILM: film}
    if make:
        exif[MAKE], exif[MODEL] = make, "X1"
    Image.new("L", size, 128).save(path, "JPEG", exif=exif)


def sharing(database: Path) -> dict[str, tuple[int, int]]:
    """Image name -> camera, and whether its focal length is known."""
    sql = "SELECT name, camera_id, prior_focal_length FROM images JOIN cameras USING (camera_id)"
    with closing(sqlite3.connect(database)) as connection:
        return {name: (camera, prior) for name, camera, prior in connection.execute(sql)}


def test_photos_of_one_size_and_focal_length_share_a_camera(workplace: Path, scene: Any) -> None:
    """Two of 28 mm and two of 35 mm that do not name their camera, one of 28 mm that does, one without EXIF."""
    kinds = [(28, ""), (28, ""), (35, ""), (35, ""), (28, "Maker"), (None, "")]
    for name, (film, make) in zip(scene.names, kinds, strict=True):
        write_exif(workplace / "photos" / name, (512, 384), film, make)
    summary = import_matches(ImportOptions(workplace / "db.db"))
    found = [sharing(workplace / "db.db")[name] for name in scene.names]
    assert found[0] == found[1] and found[2] == found[3]
    assert (summary.cameras, summary.known_focals) == (4, 3)
    assert len({camera for camera, _ in found}) == 4
    assert [prior for _, prior in found] == [1, 1, 1, 1, 1, 0]
    apart = import_matches(ImportOptions(workplace / "apart.db", cameras=CameraOptions("per-image")))
    assert apart.cameras == 6


@pytest.mark.parametrize("make", ["", "Maker"])
def test_all_of_one_camera(workplace: Path, scene: Any, make: str) -> None:
    for name in scene.names:
        write_exif(workplace / "photos" / name, (512, 384), 35, make)
    summary = import_matches(ImportOptions(workplace / "db.db"))
    assert (summary.cameras, summary.known_focals, summary.warnings) == (1, 1, ())
