"""Tracks refined on the pixels of their photos: what `refine/` does, with photos, masks and results on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.images.decode import read_gray
from astr_cli.images.info import read_info
from astr_cli.images.masks import find_masks, read_mask
from astr_cli.matching.resources.progress import Progress
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.refinement import WORTH, Rule
from astr_cli.refine.observations import Observations
from astr_cli.refine.planning import plan_from_neighbours
from astr_cli.refine.pyramid import Pyramid, build_pyramid
from astr_cli.refine.rules import Summary, kept_by, summary
from astr_cli.refine.settings import Settings
from astr_cli.refine.tracks import Step, refine_tracks
from astr_cli.sfm.tracks.build import Tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage
from astr_cli.sfm.tracks.thinning import only_keypoints
from astr_cli.wording import counted

# Matched pixels: the matcher is hardly ever worse, where it is right. Keypoints that could not be refined may not drag
# the others. On rendered courtyards positions are a quarter more exact with 2 pixels than with COLMAP's 4.
FARTHEST = 1.0
COLMAPS_ERROR = 4.0  # photo pixels
KEY = "key.txt"


class PhotoPixels:
    """The photos of an import: pyramids of their stored pixels, masked where the matcher's masks are black.

    Raises ImageError: the folder of the masks is missing.
    """

    def __init__(self, root: Path, images: Sequence[MatchedImage], masks: Path | None) -> None:
        self._root, self._images = root, images
        names = [each.name for each in images]
        self._masks = {} if masks is None else find_masks(masks, names)

    def __call__(self, number: int) -> Pyramid:
        """The pyramid of one photo. Raises ImageError: it cannot be read."""
        name = self._images[number].name
        mask = self._masks.get(name)
        allowed = None if mask is None else read_mask(mask, read_info(self._root, name))
        return build_pyramid(read_gray(self._root / name), allowed)


class KeptSteps(MutableMapping[Step, tuple[NDArray[Any], ...]]):
    """Results of steps as files in a folder: a stopped refinement resumes, and no template stays in memory.

    key: names what is refined; results of anything else in the folder are removed.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        note = folder / KEY
        if not (note.is_file() and note.read_text(encoding="utf-8") == key):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            note.write_text(key, encoding="utf-8")

    def __getitem__(self, step: Step) -> tuple[NDArray[Any], ...]:
        path = self._path(step)
        if not path.is_file():
            raise KeyError(step)
        with np.load(path, allow_pickle=False) as stored:
            return tuple(stored[name] for name in sorted(stored.files))

    def __setitem__(self, step: Step, arrays: tuple[NDArray[Any], ...]) -> None:
        path = self._path(step)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            named: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def __delitem__(self, step: Step) -> None:
        self._path(step).unlink()

    def __contains__(self, step: object) -> bool:
        return isinstance(step, Step) and self._path(step).is_file()

    def __iter__(self) -> Iterator[Step]:
        for path in sorted(self.folder.glob("*-*.npz")):
            kind, number = path.stem.split("-")
            yield Step(kind, int(number))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def remove(self) -> None:
        """Removes the folder, once its results are elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, step: Step) -> Path:
        return self.folder / f"{step.kind}-{step.photo:06d}.npz"


class Refinement(NamedTuple):
    """Tracks after refinement, and what it did."""

    tracks: Tracks
    summary: Summary


@dataclass(frozen=True)
class TrackRefiner:
    """Refines the tracks of an import."""

    images: Sequence[MatchedImage]
    pixels: Callable[[int], Pyramid]
    rule: Rule
    threads: int = 1
    settings: Settings = field(default_factory=Settings)

    def refine(
        self,
        tracks: Tracks,
        kept: KeptSteps,
        tell: Callable[[str], None] = lambda line: None,
        stop: StopFlag | None = None,
        fixed: NDArray[np.bool_] | None = None,
    ) -> Refinement:
        """Moves keypoints to where the original pixels agree, and drops those that `rule` does not keep.

        fixed: (O,) keypoints that stay where they are and are never dropped; those of a track with one are aligned to
        it. `tell` gets a line at the start and regularly. Raises ImageError: a photo cannot be read; Interrupted when
        `stop` is set.
        """
        tell(f"refining {counted(len(tracks.image), 'keypoint')} on the original pixels")
        sizes = np.array([each.size for each in self.images], np.int32).reshape(-1, 2)
        pixel = np.array([photo_pixels(each) for each in self.images], np.float64)
        xy = tracks.keypoints.astype(np.float64)
        seen = Observations(tracks.image, tracks.track, xy, pixel[tracks.image], sizes)
        plan = plan_from_neighbours(seen, self.settings.half)
        fixed = np.zeros(len(xy), bool) if fixed is None else fixed
        if fixed.any():
            reference = plan.reference.copy()
            reference[tracks.track[fixed]] = np.flatnonzero(fixed)
            plan = plan_from_neighbours(seen, self.settings.half, reference)
        heard = steps_heard(tell, stop or StopFlag())
        found = refine_tracks(seen, plan, self.pixels, self.settings, kept, self.threads, heard)
        stays = kept_by(self.rule, seen, found) | fixed
        moved = np.where(fixed[:, None], tracks.keypoints, found.xy.astype(np.float32))
        return Refinement(only_keypoints(replace(tracks, keypoints=moved), stays), summary(found, stays))


def steps_heard(tell: Callable[[str], None], stop: StopFlag) -> Callable[[int, int], None]:
    """What hears of steps done of all: tells regularly how far that is, and raises Interrupted when `stop` is set."""
    progress = Progress(tell, "refining")

    def heard(done: int, steps: int) -> None:
        stop.check()
        progress.of(done, steps)

    return heard


def worth_refining(images: Sequence[MatchedImage]) -> bool:
    """Whether photos are larger than their matched size by enough for refinement to gain anything."""
    return bool(images) and float(np.median([photo_pixels(each) for each in images])) >= WORTH


def largest_error(images: Sequence[MatchedImage]) -> float:
    """How far from the reprojection of its point, in photo pixels, a keypoint of refined tracks may lie."""
    return min(COLMAPS_ERROR, FARTHEST * float(np.median([photo_pixels(each) for each in images])))


def photo_pixels(image: MatchedImage) -> float:
    """Photo pixels per matched pixel, the mean of both axes."""
    return float(np.mean(np.divide(image.size, image.matched)))
