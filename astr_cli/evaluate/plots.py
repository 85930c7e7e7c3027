"""Drawings of a pair's matches, coloured by how far they are from the truth."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from astr_cli.errors import AstrError
from astr_cli.evaluate.benchmark import Benchmark, Outcome
from astr_cli.evaluate.metrics import Array
from astr_cli.images import read_gray, to_working, working_size
from astr_cli.pairs import pair_key

Canvas = npt.NDArray[np.uint8]
HEIGHT_OF_TEXT = 28
LINES = 100  # at most, an even sample of the matches: more would hide the photos; all have their points
UNKNOWN = (160, 160, 160)  # BGR of a match without truth


class Plotter:
    """Draws pairs of a benchmark into a folder, which it makes."""

    def __init__(self, benchmark: Benchmark[Any], target: Path, matcher: str, long_side: int) -> None:
        self._benchmark = benchmark
        self._target = target
        self._matcher = matcher
        self._long_side = long_side
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AstrError(f"{target}: cannot be made ({error.strerror}); choose another --plots") from None

    def draw(self, outcome: Outcome[Any]) -> Path:
        """Draws one pair and returns the file: green where a match is right, by way of yellow to red at ten times.

        Every match has a point in both photos, and some have a line.
        """
        result = outcome.result
        photo0, photo1 = self._photo(result.name0), self._photo(result.name1)
        width0, height = photo0.shape[1], max(photo0.shape[0], photo1.shape[0])
        canvas = np.zeros((height + HEIGHT_OF_TEXT, width0 + photo1.shape[1], 3), np.uint8)
        canvas[HEIGHT_OF_TEXT : HEIGHT_OF_TEXT + photo0.shape[0], :width0] = photo0
        canvas[HEIGHT_OF_TEXT : HEIGHT_OF_TEXT + photo1.shape[0], width0:] = photo1
        points0 = self._place(result.name0, outcome.matches.keypoints0, 0)
        points1 = self._place(result.name1, outcome.matches.keypoints1, width0)
        colours = error_colours(outcome.errors)
        lines = set(np.linspace(0, len(points0) - 1, min(LINES, len(points0))).astype(int).tolist())
        # Wrong matches last, so that right ones never hide them.
        for row in np.argsort(np.nan_to_num(outcome.errors, nan=-1.0)):
            colour = tuple(int(value) for value in colours[row])
            start, end = tuple(map(int, points0[row])), tuple(map(int, points1[row]))
            if int(row) in lines:
                cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA)
            for point in (start, end):
                cv2.circle(canvas, point, 1, colour, -1)
        text = f"{self._matcher}: {result.caption()}"
        cv2.putText(canvas, text, (6, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
        key = pair_key(result.name0, result.name1).replace("/", "_")
        path = self._target / f"{self._matcher}_{key}.jpg"
        written, data = cv2.imencode(".jpg", canvas)
        try:
            path.write_bytes(data.tobytes() if written else b"")
        except OSError as error:
            raise AstrError(f"{path}: cannot be written ({error.strerror}); choose another --plots") from None
        return path

    def _photo(self, name: str) -> Canvas:
        gray = read_gray(self._benchmark.images / name)
        size = working_size(gray.shape[1], gray.shape[0], self._long_side)
        small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8)

    def _place(self, name: str, points: npt.NDArray[np.float32], left: int) -> npt.NDArray[np.float32]:
        size = self._benchmark.sizes[name]
        offset = np.array((left, HEIGHT_OF_TEXT), np.float32)
        return np.round(to_working(points, size, working_size(*size, self._long_side)) + offset)


def error_colours(errors: Array) -> Canvas:
    """(M, 3) BGR from errors (M,) whose unit is the largest that is right: green to 1, red from 10, grey for NaN."""
    badness = np.clip(np.log10(np.clip(np.nan_to_num(errors, nan=1.0), 1e-6, 1e6)), 0, 1)
    green, red = 255 * np.clip(2 - 2 * badness, 0, 1), 255 * np.clip(2 * badness, 0, 1)
    colours = np.round(np.stack((np.zeros_like(red), green, red), axis=1)).astype(np.uint8)
    colours[np.isnan(errors)] = UNKNOWN
    return colours
