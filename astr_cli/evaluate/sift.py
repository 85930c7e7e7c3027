"""OpenCV's SIFT on the same resized photos, for comparison."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from astr_cli.images.decode import read_gray
from astr_cli.images.geometry import matched_size, resize, to_original
from astr_cli.store.types import PairMatches

RATIO = 0.8


class SiftFeatures(NamedTuple):
    """Features of one photo."""

    points: npt.NDArray[np.float32]  # (N, 2) raw pixels
    descriptors: npt.NDArray[np.float32]  # (N, 128)


class SiftMatcher:
    """Matches photos of a folder: mutual nearest neighbours that pass Lowe's ratio test both ways. Keeps the features.

    A test in one direction leaves more matches but more wrong ones, so both directions are the harder reference.
    """

    def __init__(self, root: Path, long_side: int) -> None:
        self._root = root
        self._long_side = long_side
        self._detector = cv2.SIFT.create()
        self._features: dict[str, SiftFeatures] = {}

    def match(self, name0: str, name1: str) -> PairMatches:
        """Matches in raw pixels, sorted by falling score, which is 1 minus the larger ratio. Raises ImageError."""
        features0, features1 = self.extract(name0), self.extract(name1)
        if min(len(features0.points), len(features1.points)) < 2:
            return PairMatches.empty()
        rows, there, ratio = match_descriptors(features0.descriptors, features1.descriptors)
        scores = (1 - ratio).astype(np.float32)
        return PairMatches(features0.points[rows], features1.points[there], scores, np.zeros(len(rows), np.uint8))

    def extract(self, name: str) -> SiftFeatures:
        """Features of one photo, computed once. Raises ImageError."""
        if name not in self._features:
            gray = read_gray(self._root / name)
            original = (gray.shape[1], gray.shape[0])
            matched = matched_size(*original, self._long_side)
            pixels = np.round(resize(gray, matched) * 255).astype(np.uint8)
            keypoints, descriptors = self._detector.detectAndCompute(pixels, None)
            points = np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2)
            described = np.zeros((0, 128), np.float32) if descriptors is None else np.asarray(descriptors, np.float32)
            self._features[name] = SiftFeatures(to_original(points, original, matched), described)
        return self._features[name]


def match_descriptors(
    descriptors0: npt.NDArray[np.float32], descriptors1: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Indices of matching rows of both descriptors (N, D), N at least 2, and the larger of their two ratios.

    Best first. A ratio is the distance to the nearest neighbour over the distance to the second nearest.
    """
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    there, ratio_there = _nearest(matcher, descriptors0, descriptors1)
    back, ratio_back = _nearest(matcher, descriptors1, descriptors0)
    rows = np.flatnonzero(back[there] == np.arange(len(there)))
    ratio = np.maximum(ratio_there[rows], ratio_back[there[rows]])
    order = np.argsort(ratio, kind="stable")
    order = order[ratio[order] < RATIO]
    return rows[order], there[rows[order]], ratio[order]


def _nearest(
    matcher: cv2.BFMatcher, queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Index of the nearest candidate of each query, and the ratio of its distance to that of the second nearest."""
    found = matcher.knnMatch(queries, candidates, k=2)
    index = np.array([first.trainIdx for first, _ in found], np.int64)
    ratio = np.array([first.distance / max(second.distance, 1e-9) for first, second in found], np.float64)
    return index, ratio
