"""Photos that look down and are turned about, as in strips flown in opposite directions."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from astr_cli.cli.app import run
from astr_cli.images.gimbal import turned_photos

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><a drone-dji:GimbalYawDegree="{}" drone-dji:GimbalPitchDegree="{}"/></x>'


def write(folder: Path, yaws: list[float], pitch: float = -90) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(len(yaws))]
    for number, (path, yaw) in enumerate(zip(paths, yaws, strict=True)):
        Image.new("L", (64, 48), 10 * number).save(path, xmp=XMP.format(yaw, pitch).encode())
    return paths


@pytest.mark.parametrize(
    ("yaws", "turned"),
    [
        ([10, 12, -170, -168, 9], 2),
        ([179, -179, 178, 1], 1),
        ([0, 30, 60, 80], 0),
        ([45], 0),
        ([], 0),
    ],
)
def test_the_smaller_part_is_counted(yaws: list[float], turned: int, tmp_path: Path) -> None:
    assert turned_photos(write(tmp_path, yaws)) == turned


def test_photos_that_look_ahead_may_be_turned(tmp_path: Path) -> None:
    assert turned_photos(write(tmp_path, [0, 180, 90], pitch=-20)) == 0


def test_reconstruct_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    write(tmp_path / "photos", [10, 12, 190, 11])
    command = ["reconstruct", str(tmp_path / "photos"), "--long-side", "64", "--device", "cpu", "--no-report"]
    run([*command, "--out", str(tmp_path / "out")])
    told = "1 of 4 photos that look down are turned by more than 90 degrees from the others"
    assert told in capsys.readouterr().err
    run([*command, "--out", str(tmp_path / "auto"), "--rotate", "auto"])
    assert told not in capsys.readouterr().err
