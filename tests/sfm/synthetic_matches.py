"""Matches of many images at once, for figures of memory and time:
    python tests/sfm/synthetic_matches.py FOLDER --images 2000 --pairs 20000 --matches 1000
makes FOLDER/matches.h5 and FOLDER/photos, imports them without verification, and prints peak memory and time a pair.

A camera flies over a flat, unevenly textured ground and looks straight down; every image is matched with those before
it. What is interesting in one image is so in the next, as with a true matcher, so stars have many leaves.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from astr_cli.options.database import ImportOptions
from astr_cli.sfm.database.importing import import_matches
from astr_cli.store.types import MatchEntry, PairMatches
from astr_cli.store.writer import write_matches

SIZE = (640, 480)
CELL = 8
STEP = 28.0  # pixels that the ground moves from image to image
NOISE = 0.3


def pairs_of(images: int, pairs: int) -> list[tuple[int, int]]:
    """Every image with the first, second, ... after it, until there are enough."""
    found = ((a, a + gap) for gap in range(1, images) for a in range(images - gap))
    return sorted(pair for pair, _ in zip(found, range(pairs), strict=False))


def place(image: int) -> np.ndarray:
    """(2,) where the top left corner of an image is on the ground, in pixels."""
    return np.array([image * STEP + 0.37 * np.sin(image), 20 * np.sin(0.05 * image)])


def interest(ground: np.ndarray) -> np.ndarray:
    """(M,) how well a place (M, 2) on the ground can be matched."""
    x, y = ground.T
    return np.sin(0.11 * x + 2 * np.sin(0.05 * y)) + np.cos(0.13 * y + 2 * np.sin(0.07 * x))


def one_way(a: int, b: int, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K, 2) cell centres of image a, what they are in image b, and (K,) scores, falling."""
    columns, rows = SIZE[0] // CELL, SIZE[1] // CELL
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2)
    centre = grid * CELL + (CELL - 1) / 2
    seen = centre + place(a) - place(b)
    inside = np.flatnonzero(((seen > 4) & (seen < np.array(SIZE) - 4)).all(1))
    wish = interest(centre[inside] + place(a)) + random.normal(0, 0.2, len(inside))
    best = np.argsort(-wish)[:count]
    kept = inside[best]
    return centre[kept], seen[kept] + random.normal(0, NOISE, (len(kept), 2)), 0.2 + 0.8 / (1 + np.exp(-wish[best]))


def entries(images: int, pairs: int, matches: int) -> Iterator[MatchEntry]:
    """The pairs of a matches.h5, one by one."""
    for a, b in pairs_of(images, pairs):
        random = np.random.default_rng([a, b])
        centre0, leaf1, scores0 = one_way(a, b, matches // 2, random)
        centre1, leaf0, scores1 = one_way(b, a, matches // 2, random)
        found = PairMatches(
            np.concatenate([centre0, leaf0]).astype(np.float32),
            np.concatenate([leaf1, centre1]).astype(np.float32),
            np.concatenate([scores0, scores1]).astype(np.float32),
            np.repeat([0, 1], [len(scores0), len(scores1)]).astype(np.uint8),
        )
        yield MatchEntry(f"{a:05}.png", f"{b:05}.png", SIZE, SIZE, found)


def make(folder: Path, images: int, pairs: int, matches: int) -> Path:
    """matches.h5 and photos/ in a folder."""
    photos = folder / "photos"
    photos.mkdir(parents=True)
    for number in range(images):
        Image.new("L", SIZE, 128).save(photos / f"{number:05}.png")
    write_matches(
        folder / "matches.h5", [("images", "photos"), ("long_side", str(SIZE[0]))], entries(images, pairs, matches)
    )
    return folder / "matches.h5"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=20000)
    parser.add_argument("--matches", type=int, default=1000)
    arguments = parser.parse_args()
    if not (arguments.folder / "matches.h5").exists():
        make(arguments.folder, arguments.images, arguments.pairs, arguments.matches)
    (arguments.folder / "database.db").unlink(missing_ok=True)  # the same import again would do nothing
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time()
    options = ImportOptions(arguments.folder / "database.db", verify=False, mode="create", backup=False)
    summary = import_matches(options, print)
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{summary.tracks} tracks, mean {summary.mean_track:.2f}, median {summary.median_track:g}")
    print(f"{summary.keypoints} keypoints, {summary.difference.matches_added} matches")
    print(f"peak memory {peak:.0f} MB ({before:.0f} before), {1000 * spent / summary.pairs:.2f} ms of processor a pair")
