"""The matches of one pair, as every file of this part holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PairMatches:
    """M matches of a pair, rows by falling score within each reference.

    Coordinates are float32 pixels of the original raw images (EXIF orientation not applied), the centre of the
    top-left pixel at (0, 0).
    """

    keypoints0: NDArray[np.float32]  # (M, 2) x, y in image0
    keypoints1: NDArray[np.float32]  # (M, 2) x, y in image1
    scores: NDArray[np.float32]  # (M,) of the coarse match
    reference: NDArray[np.uint8]  # (M,) which image's point is the centre of a grid cell: 0 or 1
    sigma: NDArray[np.float32] | None = None
    """(M,) standard deviation of the other point after refinement on the original pixels, in these; NaN where it was
    left as matched. None: nothing was refined."""

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> "PairMatches":
        """The chosen rows, (M,) bool, or in the order of their numbers."""
        sigma = None if self.sigma is None else self.sigma[rows]
        return PairMatches(self.keypoints0[rows], self.keypoints1[rows], self.scores[rows], self.reference[rows], sigma)

    def swapped(self) -> "PairMatches":
        """The same matches with image0 and image1 exchanged, rows in the same order."""
        return PairMatches(self.keypoints1, self.keypoints0, self.scores, 1 - self.reference, self.sigma)

    def columns(self) -> "dict[ArraySpec, NDArray[np.generic]]":
        """What to store, in the order of a journal record and of a group of matches.h5."""
        specs = ARRAYS if self.sigma is None else (*ARRAYS, SIGMA)
        return {spec: getattr(self, spec.name) for spec in specs}

    @staticmethod
    def empty() -> "PairMatches":
        """No matches."""
        points, scores = np.zeros((0, 2), np.float32), np.zeros(0, np.float32)
        return PairMatches(points, points, scores, np.zeros(0, np.uint8))


class ArraySpec(NamedTuple):
    """Name, little-endian type and length of a row of one array of a pair."""

    name: str
    dtype: str
    columns: int  # 0: one-dimensional

    def shape(self, rows: int) -> tuple[int, ...]:
        """The full shape of `rows` rows."""
        return (rows, self.columns) if self.columns else (rows,)


ROUNDING = 1e-3  # of scores
CELL = 8  # matched pixels
SMALLEST = 32  # of a matched side

# The order of the arrays in a journal record and in a group of matches.h5.
ARRAYS = (
    ArraySpec("keypoints0", "<f4", 2),
    ArraySpec("keypoints1", "<f4", 2),
    ArraySpec("scores", "<f4", 0),
    ArraySpec("reference", "|u1", 0),
)

SIGMA = ArraySpec("sigma", "<f4", 0)  # the last one, of runs that refined their matches


class StoredPair(NamedTuple):
    """A pair in matches.h5: names, raw image sizes and matched sizes, (width, height); None: format 1 has none."""

    name0: str
    name1: str
    size0: tuple[int, int]
    size1: tuple[int, int]
    matched0: tuple[int, int] | None = None
    matched1: tuple[int, int] | None = None
    content0: str = ""  # SHA-256 of the photo, or of it and its mask; "": unknown, in files of astr 0.1
    content1: str = ""


class MatchEntry(NamedTuple):
    """A pair to be written to matches.h5."""

    name0: str
    name1: str
    size0: tuple[int, int]  # raw (width, height)
    size1: tuple[int, int]
    matches: PairMatches
    matched0: tuple[int, int] | None = None  # the size that the image was matched at, as its raw pixels lie
    matched1: tuple[int, int] | None = None
    content0: str = ""  # as of StoredPair
    content1: str = ""


def problem_of(arrays: Sequence[NDArray[np.generic]]) -> str | None:
    """The problem with the arrays of a pair (in the order of ARRAYS, then SIGMA), or None: types, shapes, values."""
    rows = len(arrays[2]) if arrays[2].ndim else 0
    for spec, array in zip((*ARRAYS, SIGMA), arrays, strict=False):
        if array.dtype != np.dtype(spec.dtype):
            return f"{spec.name} is {array.dtype} where {np.dtype(spec.dtype)} is needed"
        if array.shape != spec.shape(rows):
            return f"{spec.name} has shape {array.shape} where {spec.shape(rows)} is needed"
        if spec is SIGMA:
            sigma = array.astype(np.float32)
            if (sigma < 0).any() or np.isinf(sigma).any():
                return "sigma holds negative or infinite values"
        elif array.dtype.kind == "f" and not np.isfinite(array).all():
            return f"{spec.name} holds values that are not finite"
    if rows and int(arrays[3].astype(np.uint8).max()) > 1:
        return "reference holds values other than 0 and 1"
    return None


class Side(NamedTuple):
    """One image of a pair: raw size and matched size, (width, height); None: format 1 has no matched size."""

    size: tuple[int, int]
    matched: tuple[int, int] | None


def problem_of_values(matches: PairMatches, side0: Side, side1: Side) -> str | None:
    """The problem with finite arrays, or None: points outside of the photos, scores outside of [0, 1]."""
    if not len(matches):
        return None
    if matches.scores.min() < 0 or matches.scores.max() > 1 + ROUNDING:
        return "scores are outside of [0, 1]"
    for name, points, side in (("keypoints0", matches.keypoints0, side0), ("keypoints1", matches.keypoints1, side1)):
        size = np.array(side.size, np.float64)
        # The fine stage may move a point over the edge, by less than a cell.
        margin = CELL * size / np.array(side.matched or (SMALLEST, SMALLEST), np.float64)
        if (points.min(0) < -0.5 - margin).any() or (points.max(0) > size - 0.5 + margin).any():
            return f"{name} are outside of the photo of {side.size[0]}x{side.size[1]} pixels"
    return None
