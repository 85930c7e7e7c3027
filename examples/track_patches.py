"""Draws what refinement does to one track: the patch around each of its keypoints before and after. Run as
    python examples/track_patches.py MATCHES IMAGES OUT.png [--track N]

The patches are turned and stretched to look like the reference's, so all of a row should be equal. The last column is
their mean: it is blurred where keypoints are not on the same point. Without --track, a long track is drawn that moved
much and is sure.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from astr_cli.refine.observations import Observations
from astr_cli.refine.planning import Plan, plan_from_neighbours
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.tracks import Refined, refine_tracks
from astr_cli.sfm.tracks.build import build_tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage, StoredRows
from astr_cli.sfm.tracks.refinement import PhotoPixels, photo_pixels
from astr_cli.store.matches_file import MatchesFile

HALF = 15  # photo pixels from the middle of a patch to its edge
ZOOM = 5
GAP = 6
LINE = 0.5  # opacity of the cross
WHITE = 255.0


class Scene(NamedTuple):
    """Tracks before and after refinement."""

    images: tuple[MatchedImage, ...]
    seen: Observations
    plan: Plan
    refined: Refined


def refine(matches: Path, folder: Path) -> Scene:
    """All tracks of a matches file."""
    with MatchesFile(matches) as file, closing(StoredRows(file)) as rows:
        images, tracks = rows.images, build_tracks(rows)
    pixel = np.array([photo_pixels(each) for each in images])[tracks.image]
    sizes = np.array([each.size for each in images], np.int32)
    seen = Observations(tracks.image, tracks.track, tracks.keypoints.astype(np.float64), pixel, sizes)
    plan = plan_from_neighbours(seen, Settings().half)
    return Scene(images, seen, plan, refine_tracks(seen, plan, PhotoPixels(folder, images, None), Settings()))


def choose(scene: Scene) -> int:
    """Of the tracks with the most refined observations, and of the twentieth of these that moved most, the surest."""
    good = scene.refined.status == Status.REFINED
    counts = np.bincount(scene.seen.track[good], minlength=len(scene.plan.reference))
    longest = np.flatnonzero(counts == counts.max())
    rows = [np.flatnonzero(good & (scene.seen.track == track)) for track in longest]
    shifts = np.array([np.median(scene.refined.shift[each]) for each in rows])
    sigmas = np.array([scene.refined.sigma[each].max() for each in rows])
    sigmas[shifts < np.quantile(shifts, 0.95)] = np.inf
    return int(longest[int(np.argmin(sigmas))])


def draw(scene: Scene, track: int, folder: Path) -> NDArray[np.uint8]:
    """(h, w) the picture: a row before and a row after."""
    rows = np.flatnonzero((scene.seen.track == track) & (scene.refined.status <= Status.REFINED))
    rows = rows[np.argsort(scene.refined.status[rows], kind="stable")]  # the reference first
    lines = []
    for points in (scene.seen.xy, scene.refined.xy):
        patches = [patch(scene, row, points[row], folder) for row in rows]
        lines.append(np.hstack([framed(each) for each in (*patches, np.mean(patches, axis=0))]))
    return np.rint(np.vstack(lines)).astype(np.uint8)


def patch(scene: Scene, row: int, point: NDArray[np.float64], folder: Path) -> NDArray[np.float64]:
    """(s, s) pixels around a keypoint, as the reference's photo shows them, with equal mean and contrast."""
    gray = PhotoPixels(folder, scene.images, None)(int(scene.seen.photo[row])).levels[0]
    steps = (np.arange((2 * HALF + 1) * ZOOM) + 0.5) / ZOOM - HALF - 0.5
    offsets = np.stack(np.meshgrid(steps, steps), axis=-1) @ scene.plan.maps[row].T
    x, y = np.moveaxis((point + offsets).astype(np.float32), -1, 0)
    found = cv2.remap(gray, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    return np.asarray(np.clip(128 + 48 * (found - found.mean()) / max(found.std(), 1e-6), 0, 255))


def framed(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """With a cross in the middle and a white frame."""
    marked, middle = pixels.copy(), len(pixels) // 2
    marked[middle] = LINE * WHITE + (1 - LINE) * marked[middle]
    marked[:, middle] = LINE * WHITE + (1 - LINE) * marked[:, middle]
    return np.pad(marked, GAP, constant_values=WHITE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matches", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--track", type=int)
    arguments = parser.parse_args()
    found = refine(arguments.matches, arguments.images)
    chosen = choose(found) if arguments.track is None else arguments.track
    cv2.imwrite(str(arguments.out), draw(found, chosen, arguments.images))
    print(f"{arguments.out}: track {chosen}")
