"""Drawings of a pair's matches: two photos side by side, a point in both for each match, lines for some."""

import os
from itertools import count
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder, write_whole

HEIGHT_OF_TEXT = 28
# How a drawing begins: JPEG's first marker, then a comment. By this astr knows a drawing of its own.
START = b"\xff\xd8"
_COMMENT = b"astr drawing"
MARK = START + b"\xff\xfe" + (len(_COMMENT) + 2).to_bytes(2, "big") + _COMMENT
LINES = 100  # at most, an even sample of the matches: more would hide the photos; all have their points


class Drawn(NamedTuple):
    """The part of a photo that is drawn, in pixels of the drawing."""

    gray: NDArray[np.uint8]  # (h, w)
    points: NDArray[np.float32]  # (M, 2)


def draw_matches(
    first: Drawn, second: Drawn, colours: NDArray[np.uint8], order: ArrayLike, text: str
) -> NDArray[np.uint8]:
    """(H, W, 3) BGR of both photos below a line of text; `colours` are (M, 3) BGR, and `order` has the (M,) rows in
    drawing order, the most important last."""
    import cv2

    width0, height = first.gray.shape[1], max(first.gray.shape[0], second.gray.shape[0])
    canvas = np.zeros((height + HEIGHT_OF_TEXT, width0 + second.gray.shape[1], 3), np.uint8)
    for gray, left in ((first.gray, 0), (second.gray, width0)):
        place = canvas[HEIGHT_OF_TEXT : HEIGHT_OF_TEXT + gray.shape[0], left : left + gray.shape[1]]
        place[:] = gray[..., None]
    points0 = np.round(first.points + np.array((0, HEIGHT_OF_TEXT), np.float32))
    points1 = np.round(second.points + np.array((width0, HEIGHT_OF_TEXT), np.float32))
    lines = set(np.linspace(0, len(points0) - 1, min(LINES, len(points0))).astype(int).tolist())
    for row in np.asarray(order, int).tolist():
        colour = tuple(int(value) for value in colours[row])
        start, end = tuple(map(int, points0[row])), tuple(map(int, points1[row]))
        if row in lines:
            cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(canvas, point, 1, colour, -1)
    cv2.putText(canvas, text, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


class DrawingFolder:
    """A folder of drawings. Earlier drawings of astr are replaced; any other file keeps its name, and the drawing gets
    another. Raises AstrError when the folder or a drawing cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: set[str] = set()
        check_output_folder(folder, "--plots")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AstrError(f"{folder}: cannot be created ({error.strerror}); choose another --plots") from None

    def write(self, canvas: NDArray[np.uint8], name0: str, name1: str, prefix: str = "") -> Path:
        """Writes PREFIX + NAME0_NAME1.jpg, the names without their suffixes where that leaves them apart, with a number
        where another file has that name."""
        import cv2

        stems = (PurePosixPath(name).with_suffix("").as_posix() for name in (name0, name1))
        key = prefix + "_".join(stem.replace("/", "-") for stem in stems)
        if key in self._taken:
            key = prefix + "_".join(name.replace("/", "-").replace(".", "-") for name in (name0, name1))
        _, data = cv2.imencode(".jpg", canvas)
        path = self._folder / f"{key}.jpg"
        try:
            path = self._free(key)
            write_whole(path, MARK + data.tobytes().removeprefix(START))
        except OSError as error:
            raise AstrError(f"{path}: cannot be written ({error.strerror}); choose another --plots") from None
        return path

    def _free(self, key: str) -> Path:
        """The first name that no other file and no drawing of this run has."""
        for number in count(1):
            name = key if number == 1 else f"{key}-{number}"
            path = self._folder / f"{name}.jpg"
            if name not in self._taken and (not os.path.lexists(path) or is_drawing(path)):
                break
        self._taken.add(name)
        return path


def is_drawing(path: Path) -> bool:
    """Whether astr drew this file."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK
