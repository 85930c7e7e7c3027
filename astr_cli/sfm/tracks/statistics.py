"""Figures of tracks, in a form that the database keeps for the next import to report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from astr_cli.files import parse_json
from astr_cli.sfm.tracks.build import Tracks


@dataclass(frozen=True)
class TrackStatistics:
    """How many keypoints and matches there are, and how long the tracks."""

    keypoints: int
    matches: int
    """Of keypoints: the two directions of one coarse match, and rows of joined stars, count once."""
    histogram: tuple[int, ...]
    """Entry n: how many tracks see n images."""

    @property
    def tracks(self) -> int:
        """How many there are."""
        return sum(self.histogram)

    @property
    def mean(self) -> float:
        """Images that a track sees."""
        return sum(length * count for length, count in enumerate(self.histogram)) / max(1, self.tracks)

    @property
    def median(self) -> float:
        """Likewise."""
        ends = np.cumsum(self.histogram)
        middle = np.searchsorted(ends, [(self.tracks - 1) // 2, self.tracks // 2], side="right")
        return float(middle.mean())

    def text(self) -> str:
        """For `parse`."""
        return json.dumps(asdict(self))

    @staticmethod
    def parse(text: str) -> TrackStatistics | None:
        """None for anything that `text` did not make."""
        try:
            found = parse_json(text)
            histogram = tuple(int(count) for count in found["histogram"])
            return TrackStatistics(int(found["keypoints"]), int(found["matches"]), histogram)
        except (ValueError, KeyError, TypeError):
            return None


def statistics_of(tracks: Tracks, matches: int) -> TrackStatistics:
    """The figures of tracks that make so many matches of keypoints."""
    return TrackStatistics(len(tracks.image), matches, tuple(np.bincount(tracks.lengths).tolist()))
