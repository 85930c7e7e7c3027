"""Frames of a video as photos: the sharpest or the first one of each part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder, write_whole

FPS = 2.0
TIMES, MARK = "times.csv", "# astr frames: name, seconds from the start of the video"
QUALITY = 95  # of JPEG
LOOKED_AT = 640  # pixels of the long side that sharpness is measured at

PartOf = Callable[[int, float], int]  # (number of a frame, its time in seconds) -> the part of the video it is in


class Frame(NamedTuple):
    """A frame that was kept."""

    name: str
    number: int  # in the video, from 0
    seconds: float
    sharpness: float


def keep_frames(
    video: Path,
    out: Path,
    fps: float | None = None,
    count: int | None = None,
    sharpest: bool = True,
    check: Callable[[], None] = lambda: None,
) -> list[Frame]:
    """Writes one frame of each part of a video to `out`, as frame_NUMBER.jpg, and times.csv with their times.

    `fps` or `count` say how many parts there are; without both, two per second. `check` is called for each frame, and
    may raise. Raises AstrError: not a video, `out` holds other files; OSError.
    """
    _prepare(out)
    with _opened(video) as file:
        part_of = _parts(video, file, fps, count)
    kept = []
    with _opened(video) as file:
        for frame, pixels in _best(file, part_of, sharpest, check):
            done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if not done:
                raise AstrError(f"{video}: frame {frame.number} cannot be written as JPEG; convert the video")
            write_whole(out / frame.name, data.tobytes())
            kept.append(frame)
    if not kept:
        raise AstrError(f"{video}: has no frame that can be read; convert it, for example with ffmpeg")
    lines = [MARK, *(f"{frame.name},{frame.seconds:.6f}" for frame in kept)]
    write_whole(out / TIMES, "".join(f"{line}\n" for line in lines))
    return kept


def sharpness(pixels: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of (h, w, 3) uint8, shrunk: larger is sharper, for frames of about one content."""
    gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    factor = LOOKED_AT / max(gray.shape)
    if factor < 1:
        gray = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var())


def _best(
    file: Any, part_of: PartOf, sharpest: bool, check: Callable[[], None]
) -> Iterator[tuple[Frame, NDArray[np.uint8]]]:
    """The frame to keep of each part, in their order."""
    best: tuple[Frame, NDArray[np.uint8]] | None = None
    current = -1
    for number, seconds in _grabbed(file):
        check()
        part = part_of(number, seconds)
        if part == current and not sharpest:
            continue
        there, pixels = file.retrieve()
        if not there:
            continue
        frame = Frame(f"frame_{number:06d}.jpg", number, seconds, sharpness(pixels) if sharpest else 0.0)
        if part != current:
            if best is not None:
                yield best
            best, current = (frame, pixels), part
        elif best is None or frame.sharpness > best[0].sharpness:
            best = frame, pixels
    if best is not None:
        yield best


def _grabbed(file: Any) -> Iterator[tuple[int, float]]:
    """Number and time of each frame, which then can be retrieved."""
    number = 0
    rate = file.get(cv2.CAP_PROP_FPS) or 30.0
    last = -1.0
    while file.grab():
        seconds = file.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if seconds <= last:  # some formats hold no times
            seconds = last + 1 / rate
        yield number, seconds
        number, last = number + 1, seconds


def _parts(video: Path, file: Any, fps: float | None, count: int | None) -> PartOf:
    if count is None:
        rate = fps or FPS
        return lambda number, seconds: int(seconds * rate + 1e-6)
    total = sum(1 for _ in _grabbed(file))  # what the file says of itself is often wrong
    if count > total:
        raise AstrError(f"{video}: has {total} frames, fewer than --count {count}; give a smaller number")
    return lambda number, seconds: number * count // total


@contextmanager
def _opened(video: Path) -> Iterator[Any]:
    if not video.is_file():
        raise AstrError(f"{video}: no such file; name a video")
    file = cv2.VideoCapture(str(video))
    try:
        if not file.isOpened():
            raise AstrError(f"{video}: is not a video that OpenCV can read; convert it, for example with ffmpeg")
        yield file
    finally:
        file.release()


def _prepare(out: Path) -> None:
    """Makes the folder, and removes the frames of an earlier run. Raises AstrError: it holds other files."""
    check_output_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    held = sorted(path.name for path in out.iterdir())
    times = out / TIMES
    if held and not (times.is_file() and times.read_text(encoding="utf-8").startswith(MARK)):
        raise AstrError(f"{out}: is not empty and was not written by astr frames; choose another --out")
    for line in times.read_text(encoding="utf-8").splitlines()[1:] if held else ():
        name = line.partition(",")[0]
        if name in held and name.startswith("frame_") and name.endswith(".jpg"):
            (out / name).unlink()
