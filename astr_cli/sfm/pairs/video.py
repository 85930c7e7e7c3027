"""Tells by their names whether photos are frames of videos, for which fewer pairs do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath

FEWEST = 20  # frames of a folder; with fewer, all pairs cost little
EVEN = 0.9  # of the steps between numbers are the most frequent one
NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)$")
# Programs that cut videos call the frames so, or by numbers alone (ffmpeg); cameras have prefixes of their own (DSC_).
OF_VIDEO = re.compile(r"(^|.*[^a-z])(frames?|video|vid|clip|movie|mov)[^a-z]*$", re.IGNORECASE)


def looks_like_video(names: Sequence[str]) -> bool:
    """Whether every folder holds evenly numbered frames of one prefix that programs give, at least 20."""
    folders: dict[PurePosixPath, list[str]] = {}
    for name in names:
        path = PurePosixPath(name)
        folders.setdefault(path.parent, []).append(path.stem)
    return bool(folders) and all(_is_sequence(stems) for stems in folders.values())


def _is_sequence(stems: Sequence[str]) -> bool:
    found = [NUMBERED.match(stem) for stem in stems]
    if len(stems) < FEWEST or not all(found):
        return False
    prefixes = {match["prefix"] for match in found if match}
    prefix = next(iter(prefixes))
    if len(prefixes) > 1 or (prefix and not OF_VIDEO.match(prefix)):
        return False
    numbers = sorted(int(match["number"]) for match in found if match)
    steps = [after - before for before, after in pairwise(numbers)]
    return steps.count(max(set(steps), key=steps.count)) >= EVEN * len(steps)
