"""`astr frames`: the frames that are kept, their times, and what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from astr_cli.cli.app import run
from astr_cli.errors import AstrError
from astr_cli.images.frames import TIMES, keep_frames

SHARP = (3, 8, 10, 19, 22, 29)  # one in each part of 5 frames


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 10 per second, all blurred but those of SHARP; the first pixels show the number."""
    path = tmp_path_factory.mktemp("video") / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 128))
    random = np.random.default_rng(0)
    texture = random.integers(0, 255, (128, 160, 3), np.uint8)
    for number in range(30):
        pixels = texture if number in SHARP else cv2.GaussianBlur(texture, (0, 0), 2)
        writer.write(cv2.rectangle(pixels.copy(), (0, 0), (32, 32), (8 * number,) * 3, -1))
    writer.release()
    return path


def numbers(folder: Path) -> list[int]:
    """The numbers that the frames show."""
    return [round(cv2.imread(str(path))[4:28, 4:28].mean() / 8) for path in sorted(folder.glob("*.jpg"))]


def test_the_sharpest_frame_of_each_half_second(video: Path, tmp_path: Path) -> None:
    kept = keep_frames(video, tmp_path / "out")
    assert tuple(frame.number for frame in kept) == SHARP
    assert numbers(tmp_path / "out") == list(SHARP)
    assert [frame.seconds for frame in kept] == pytest.approx([number / 10 for number in SHARP], abs=0.051)
    lines = (tmp_path / "out" / TIMES).read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [f"frame_{number:06d}.jpg" for number in SHARP]
    # The same once more: the same bytes. Another number of frames takes the place of the earlier ones.
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    keep_frames(video, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    keep_frames(video, tmp_path / "out", count=3)
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 3


def test_evenly_spaced_frames(video: Path, tmp_path: Path) -> None:
    assert [frame.number for frame in keep_frames(video, tmp_path / "a", count=6, sharpest=False)] == [
        0,
        5,
        10,
        15,
        20,
        25,
    ]
    assert numbers(tmp_path / "a") == [0, 5, 10, 15, 20, 25]
    assert len(keep_frames(video, tmp_path / "b", count=30)) == 30
    assert len(keep_frames(video, tmp_path / "c", fps=1.0)) == 3


def test_what_is_refused(video: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for path, part in ((tmp_path / "text.mp4", "is not a video"), (tmp_path / "none.mp4", "no such file")):
        with pytest.raises(AstrError, match=part):
            keep_frames(path, tmp_path / "out")
    with pytest.raises(AstrError, match="has 30 frames, fewer than --count 31"):
        keep_frames(video, tmp_path / "out", count=31)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "frame_000001.jpg").write_text("mine")
    with pytest.raises(AstrError, match="was not written by astr frames"):
        keep_frames(video, tmp_path / "mine")
    assert (tmp_path / "mine" / "frame_000001.jpg").read_text() == "mine"
    capfd.readouterr()
    assert run(["frames", str(video), "--out", str(tmp_path / "out"), "--fps", "1", "--count", "3"]) == 2
    assert "give one of them" in capfd.readouterr().err
    assert run(["frames", str(video), "--out", str(tmp_path / "out")]) == 0
    assert "6 frames of 2." in capfd.readouterr().out
