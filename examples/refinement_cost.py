"""What refinement costs on large photos: CPU time beside decoding, and peak memory. Run as
    python examples/refinement_cost.py PHOTOS --work FOLDER [--photos 50] [--megapixels 24] [--observations 15000]

Enlarges the photos of a folder, each several times, a little shifted, turned and scaled every time, and adds noise, so
that a JPEG file is as large as a camera's. It is known where the copies see the same point; keypoints are put there
with the error that matching at 640 pixels has.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from astr_cli.images.decode import read_gray
from astr_cli.refine.observations import Observations
from astr_cli.refine.planning import plan_from_neighbours
from astr_cli.refine.pyramid import build_pyramid
from astr_cli.refine.settings import Settings, Status
from astr_cli.refine.tracks import refine_tracks
from astr_cli.sfm.tracks.match_rows import MatchedImage
from astr_cli.sfm.tracks.refinement import KeptSteps, PhotoPixels

LONG_SIDE = 640
ERROR = 0.4  # matched pixels, one axis
QUALITY = 92
NOISE = 3.0  # grey values


class Copy(NamedTuple):
    """An enlarged photo."""

    name: str
    source: int
    size: tuple[int, int]
    warp: NDArray[np.float64]  # (2, 3) from pixels of the source to pixels of the copy


def enlarge(photos: list[Path], work: Path, count: int, megapixels: float) -> list[Copy]:
    """Copies of the photos in `work`/images; those that exist are taken over."""
    random, grain = np.random.default_rng(0), np.random.default_rng(1)
    (work / "images").mkdir(parents=True, exist_ok=True)
    copies = []
    for number in range(count):
        source = number % len(photos)
        pixels = cv2.imread(str(photos[source]))
        height, width = pixels.shape[:2]
        factor = math.sqrt(megapixels * 1e6 / (width * height))
        size = round(width * factor), round(height * factor)
        zoom, angle = factor * random.uniform(1.0, 1.1), random.uniform(-5, 5)
        warp = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom)
        warp[:, 2] += np.array(size) / 2 - (width / 2, height / 2) + random.uniform(-0.02, 0.02, 2) * size
        copy = Copy(f"{number:03d}.jpg", source, size, warp)
        path = work / "images" / copy.name
        if not path.is_file():
            made = cv2.warpAffine(pixels, warp, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            noise = grain.normal(0, NOISE, (*made.shape[:2], 1))
            made = np.clip(made + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(path), made, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        copies.append(copy)
    return copies


def observe(copies: list[Copy], photos: list[Path], count: int) -> tuple[Observations, NDArray[np.float64]]:
    """About `count` observations per copy, and where they are in truth (O, 2)."""
    random = np.random.default_rng(1)
    sizes = [cv2.imread(str(path), cv2.IMREAD_REDUCED_GRAYSCALE_8).shape[::-1] for path in photos]
    points = [random.uniform(0.05, 0.95, (count, 2)) * np.array(size) * 8 for size in sizes]
    photo, track, xy = [], [], []
    for number, copy in enumerate(copies):
        mine = points[copy.source] @ copy.warp[:, :2].T + copy.warp[:, 2]
        inside = np.flatnonzero(((mine >= 0) & (mine <= np.array(copy.size) - 1)).all(axis=1))
        photo.append(np.full(len(inside), number, np.int32))
        track.append((copy.source * count + inside).astype(np.int32))
        xy.append(mine[inside])
    truth, photos_of = np.concatenate(xy), np.concatenate(photo)
    pixel = np.array([max(copy.size) / LONG_SIDE for copy in copies])[photos_of]
    given = truth + random.normal(0, ERROR, truth.shape) * pixel[:, None]
    sizes_of = np.array([copy.size for copy in copies], np.int32)
    _, tracks = np.unique(np.concatenate(track), return_inverse=True)
    return Observations(photos_of, tracks.astype(np.int32), given, pixel, sizes_of), truth


def main(photos: list[Path], work: Path, count: int, megapixels: float, observations: int) -> None:
    """Prints the figures."""
    cv2.setNumThreads(1)
    copies = enlarge(photos, work, count, megapixels)
    start = time.process_time()
    for copy in copies[:5]:
        gray = read_gray(work / "images" / copy.name)
    decoding = (time.process_time() - start) / min(5, len(copies))
    start = time.process_time()
    build_pyramid(gray)
    halving = time.process_time() - start
    seen, truth = observe(copies, photos, observations)
    images = [MatchedImage(copy.name, copy.size, (LONG_SIDE, LONG_SIDE)) for copy in copies]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.process_time()
    plan = plan_from_neighbours(seen, Settings().half)
    planned = time.process_time()
    kept = KeptSteps(work / "steps", str(time.time()))
    found = refine_tracks(seen, plan, PhotoPixels(work / "images", images, None), Settings(), kept)
    kept.remove()
    took = (time.process_time() - start) / count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    good = found.status == Status.REFINED
    base = plan.reference[seen.track]
    ideal = truth + _moved(copies, seen, base, seen.xy[base] - truth[base])
    errors = np.linalg.norm(found.xy - ideal, axis=1)[good]
    print(f"{count} photos of {megapixels:g} MP, {len(seen.photo) / count:,.0f} observations per photo")
    print(f"CPU per photo: {took:.2f} s ({(planned - start) / count:.2f} s of it for local affine maps)")
    print(
        f"decoding its grey values: {decoding:.2f} s, halving them: {halving:.2f} s; "
        f"refining takes {took / (decoding + halving):.1f} times as long as both"
    )
    print(f"peak memory {peak:,.0f} MiB ({before:,.0f} before)")
    print(f"{good.sum() / (len(good) - len(plan.reference)):.0%} refined, median error {np.median(errors):.3f} px")


def _moved(
    copies: list[Copy], seen: Observations, base: NDArray[np.int64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(O, 2) what an error (O, 2) of the reference is in the photo of each observation."""
    warps = np.array([copy.warp[:, :2] for copy in copies])
    maps = warps[seen.photo] @ np.linalg.inv(warps[seen.photo[base]])
    return np.asarray((maps @ shift[:, :, None])[:, :, 0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos_folder", metavar="PHOTOS", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--observations", type=int, default=15000)
    given = parser.parse_args()
    main(
        sorted(given.photos_folder.glob("*.jpg")) + sorted(given.photos_folder.glob("*.JPG")),
        given.work,
        given.photos,
        given.megapixels,
        given.observations,
    )
