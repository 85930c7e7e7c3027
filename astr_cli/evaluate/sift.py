"""OpenCV's SIFT on the same resized photos: the matcher that every figure is compared with."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from astr_cli.images import read_gray, resize, to_original, working_size
from astr_cli.store import PairMatches

RATIO = 0.8


class SiftFeatures(NamedTuple):
    """Features of one photo."""

    points: npt.NDArray[np.float32]  # (N, 2) raw pixels
    descriptors: npt.NDArray[np.float32]  # (N, 128)


class SiftMatcher:
    """Matches photos of a folder: mutual nearest neighbours that pass Lowe's ratio in image1; features are kept."""

    def __init__(self, root: Path, long_side: int) -> None:
        self._root = root
        self._long_side = long_side
        self._detector = cv2.SIFT.create()
        self._features: dict[str, SiftFeatures] = {}

    def match(self, name0: str, name1: str) -> PairMatches:
        """Matches in raw pixels, the score being 1 - ratio, falling. Raises ImageError."""
        features0, features1 = self._extract(name0), self._extract(name1)
        if min(len(features0.points), len(features1.points)) < 2:
            return PairMatches.empty()
        matcher = cv2.BFMatcher(cv2.NORM_L2)
        there, ratio = _nearest(matcher, features0.descriptors, features1.descriptors)
        back, _ = _nearest(matcher, features1.descriptors, features0.descriptors)
        rows = np.arange(len(there))
        good = (back[there] == rows) & (ratio < RATIO)
        rows = rows[good][np.argsort(ratio[good], kind="stable")]
        scores = (1 - ratio[rows]).astype(np.float32)
        points0, points1 = features0.points[rows], features1.points[there[rows]]
        return PairMatches(points0, points1, scores, np.zeros(len(rows), np.uint8))

    def _extract(self, name: str) -> SiftFeatures:
        if name not in self._features:
            gray = read_gray(self._root / name)
            original = (gray.shape[1], gray.shape[0])
            working = working_size(*original, self._long_side)
            pixels = np.round(resize(gray, working) * 255).astype(np.uint8)
            keypoints, descriptors = self._detector.detectAndCompute(pixels, None)
            points = np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2)
            described = np.zeros((0, 128), np.float32) if descriptors is None else np.asarray(descriptors, np.float32)
            self._features[name] = SiftFeatures(to_original(points, original, working), described)
        return self._features[name]


def _nearest(
    matcher: cv2.BFMatcher, queries: npt.NDArray[np.float32], candidates: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Index of each query's nearest candidate, and the ratio of its distance to that of the second nearest."""
    found = matcher.knnMatch(queries, candidates, k=2)
    index = np.array([first.trainIdx for first, _ in found], np.int64)
    ratio = np.array([first.distance / max(second.distance, 1e-9) for first, second in found], np.float64)
    return index, ratio
