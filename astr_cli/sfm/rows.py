"""Match rows of many pairs as flat arrays, the form the track builder works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One image: its name, its raw size and the size the matcher saw, both (width, height) in pixels."""

    name: str
    size: tuple[int, int]
    working: tuple[int, int]


@dataclass(frozen=True)
class MatchRows:
    """Every match of every pair, one row each; keypoints in ORIGINAL pixels, centre of the top-left pixel at (0, 0)."""

    frames: tuple[Frame, ...]  # sorted by name
    pairs: np.ndarray  # (P, 2) int32, indices into frames, in the order of the file
    pair: np.ndarray  # (R,) int32, index into pairs
    keypoints0: np.ndarray  # (R, 2) float32, in frames[pairs[pair, 0]]
    keypoints1: np.ndarray  # (R, 2) float32, in frames[pairs[pair, 1]]
    scores: np.ndarray  # (R,) float32
    reference: np.ndarray  # (R,) uint8: which of the two is a cell centre

    def __len__(self) -> int:
        return len(self.scores)


def scales(frames: Sequence[Frame]) -> np.ndarray:
    """(N, 2) float64: working pixels per original pixel, x and y, of each image."""
    sizes = np.array([frame.size for frame in frames], np.float64).reshape(-1, 2)
    working = np.array([frame.working for frame in frames], np.float64).reshape(-1, 2)
    return working / sizes
