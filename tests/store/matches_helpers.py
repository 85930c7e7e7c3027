"""Small made-up matches for the tests of matches.h5."""

import numpy as np

from astr_cli.store.types import MatchEntry, PairMatches

OPTIONS = (("images", "../my photos"), ("model", "astr-small"), ("weights_sha256", "ab" * 32), ("long_side", "640"))
SIZE0, SIZE1 = (4000, 3000), (640, 480)


def matches_of(rows: int, seed: int = 0) -> PairMatches:
    generator = np.random.default_rng(seed)
    points = generator.random((2, rows, 2), np.float32) * 480
    reference = generator.integers(0, 2, rows).astype(np.uint8)
    return PairMatches(points[0], points[1], generator.random(rows, np.float32), reference)


def entry(name0: str, name1: str, rows: int = 5) -> MatchEntry:
    return MatchEntry(name0, name1, SIZE0, SIZE1, matches_of(rows, len(name0)))


ENTRIES = [entry("cam 1/b.jpg", "a.jpg", 7), entry("a.jpg", "c.jpg", 0), entry("ü/日本.jpg", "a.jpg", 300)]
