"""Drawings of the matches of a pair, coloured by their error."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from astr_cli.evaluate.benchmark import Benchmark, PairOutcome
from astr_cli.evaluate.metrics import Array
from astr_cli.images.decode import read_gray
from astr_cli.images.drawing import DrawingFolder, Drawn, draw_matches
from astr_cli.images.geometry import matched_size, to_matched

UNKNOWN = (160, 160, 160)  # BGR, for a match without ground truth


class Plotter:
    """Draws pairs of a benchmark into a folder and creates the folder."""

    def __init__(self, benchmark: Benchmark[Any], target: Path, matcher: str, long_side: int) -> None:
        self._benchmark = benchmark
        self._target = DrawingFolder(target)
        self._matcher = matcher
        self._long_side = long_side

    def draw(self, outcome: PairOutcome[Any]) -> Path:
        """Draws one pair and returns the file. Right matches are green; larger errors are yellow, then red.

        Every match has a dot in both photos, and some have a line.
        """
        result, matches = outcome.result, outcome.matches
        first = self._photo(result.name0, matches.keypoints0)
        second = self._photo(result.name1, matches.keypoints1)
        # Wrong matches come last, so that right ones never cover them.
        order = np.argsort(np.nan_to_num(outcome.errors, nan=-1.0))
        text = f"{self._matcher}: {result.caption()}"
        canvas = draw_matches(first, second, error_colours(outcome.errors), order, text)
        return self._target.write(canvas, result.name0, result.name1, f"{self._matcher}_")

    def _photo(self, name: str, points: npt.NDArray[np.float32]) -> Drawn:
        gray = read_gray(self._benchmark.images / name)
        size = matched_size(gray.shape[1], gray.shape[0], self._long_side)
        small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
        return Drawn(small, to_matched(points, self._benchmark.sizes[name], size))


def error_colours(errors: Array) -> npt.NDArray[np.uint8]:
    """(M, 3) BGR from errors (M,), 1 being the largest right one: green up to 1, red from 10 on, grey for NaN."""
    badness = np.clip(np.log10(np.clip(np.nan_to_num(errors, nan=1.0), 1e-6, 1e6)), 0, 1)
    green, red = 255 * np.clip(2 - 2 * badness, 0, 1), 255 * np.clip(2 * badness, 0, 1)
    colours = np.round(np.stack((np.zeros_like(red), green, red), axis=1)).astype(np.uint8)
    colours[np.isnan(errors)] = UNKNOWN
    return colours
