"""What choosing pairs by retrieval needs for many photos, with made descriptors: no photo is read.

    python many_photos.py [--photos 20000] [--neighbours 20]

Prints CPU time and the memory that the process needed.
"""

import argparse
import resource
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from astr_cli.sfm.pairs.generators import ranked_by_similarity
from astr_cli.sfm.pairs.retrieval import describe

CELLS, CHANNELS = 40 * 30, 128  # the features of a photo at 320x240


def features(names: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    """(CELLS, CHANNELS) of unit length per photo: those of one of 500 places, with noise."""
    for name in names:
        place, own = np.random.default_rng(int(name) % 500), np.random.default_rng(int(name))
        rows = place.standard_normal((CELLS, CHANNELS), np.float32) + own.standard_normal((1, CHANNELS), np.float32)
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def told(step: str, before: float) -> None:
    """One line."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{step:12} {time.process_time() - before:8.1f} s  {memory:6.0f} MB", flush=True)


def main() -> None:
    """Describes photos, and ranks their pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--neighbours", type=int, default=20)
    given = parser.parse_args()
    names = [f"{number:06d}" for number in range(given.photos)]
    before = time.process_time()
    descriptors = describe(names, features)
    told("descriptors", before)
    before = time.process_time()
    pairs = ranked_by_similarity(names, descriptors, given.neighbours).pairs
    told("pairs", before)
    print(f"{len(pairs)} pairs")


if __name__ == "__main__":
    main()
