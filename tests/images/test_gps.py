"""Where a photo was taken: what EXIF says, and what is no place."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from astr_cli.images.gps import Place, exif_place
from astr_cli.images.info import read_info

R = IFDRational
BOCHUM = {1: "N", 2: (R(51, 1), R(30, 1), R(36, 1)), 3: "E", 4: (R(7, 1), R(15, 1), R(0, 1)), 5: b"\0", 6: R(1205, 10)}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({}, (51.51, 7.25, 120.5)),
        ({1: "S", 3: b"W\0", 5: b"\1"}, (-51.51, -7.25, -120.5)),
        ({5: 1}, (51.51, 7.25, -120.5)),
        ({6: None, 5: None}, (51.51, 7.25, None)),
        ({6: R(0, 0)}, (51.51, 7.25, None)),
        ({6: R(10**9, 1)}, (51.51, 7.25, None)),
        ({2: (R(51, 1), R(306, 10), R(0, 0))}, (51.51, 7.25, 120.5)),  # decimal minutes, no seconds
        ({2: (R(5151, 100), R(0, 0), R(0, 0))}, (51.51, 7.25, 120.5)),
        ({2: (R(51, 1), R(306, 10))}, (51.51, 7.25, 120.5)),
        ({2: (R(0, 1),) * 3, 4: (R(0, 1),) * 3, 6: R(0, 1)}, None),  # what receivers write without a fix
        ({2: (R(0, 0),) * 3}, None),
        ({2: (R(95, 1),) * 3}, None),
        ({4: (R(-181, 1), R(0, 1), R(0, 1))}, None),
        ({1: None}, None),
        ({1: "X"}, None),
        ({2: "51.5"}, None),
        ({2: 51.5}, None),
        ({2: ()}, None),
    ],
)
def test_places(changes: dict[int, Any], place: tuple[float, float, float | None] | None) -> None:
    tags = {key: value for key, value in {**BOCHUM, **changes}.items() if value is not None}
    found = exif_place(tags)
    assert found == (None if place is None else pytest.approx(Place(*place), abs=1e-9))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_every_format_has_its_place(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0131] = "Pillow writes no EXIF that has parts only"
    exif.get_ifd(0x8825).update(BOCHUM)
    if suffix == ".tif":
        exif[0x8825] = 0  # likewise: Pillow corrects it
    Image.new("RGB", (64, 48)).save(tmp_path / f"a{suffix}", exif=exif)
    assert read_info(tmp_path, f"a{suffix}").place[:3] == pytest.approx((51.51, 7.25, 120.5), abs=1e-6)
