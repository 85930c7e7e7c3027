"""Small made-up runs for the journal's tests."""

from pathlib import Path

import numpy as np

from astr_cli.store.journal import Journal
from astr_cli.store.run_info import ImageStamp, RunInfo
from astr_cli.store.types import PairMatches

OPTIONS = (("images", "photos"), ("model", "astr-small"), ("weights_sha256", "ab" * 32), ("threshold", "0.2"))
NAMES = tuple(f"cam/{number:03d}.jpg" for number in range(8))
PAIRS = [(a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]]


def run_of(names: tuple[str, ...] = NAMES, options: tuple[tuple[str, str], ...] = OPTIONS, mtime: int = 1) -> RunInfo:
    return RunInfo(options, tuple(ImageStamp(name, 640, 480, mtime, 1000) for name in names))


def matches_of(seed: int, rows: int | None = None) -> PairMatches:
    generator = np.random.default_rng(seed)
    count = int(generator.integers(0, 300)) if rows is None else rows
    points = generator.random((2, count, 2), np.float32) * 480
    return PairMatches(
        points[0], points[1], generator.random(count, np.float32), generator.integers(0, 2, count).astype(np.uint8)
    )


def same(first: PairMatches, second: PairMatches) -> bool:
    names = ("keypoints0", "keypoints1", "scores", "reference")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def fill(journal: Journal, pairs: list[tuple[str, str]]) -> None:
    for pair in pairs:
        journal.append(*pair, matches_of(PAIRS.index(pair)))


def whole_run(folder: Path, pairs: list[tuple[str, str]] = PAIRS) -> bytes:
    """The bytes of an uninterrupted run's output."""
    folder.mkdir(parents=True, exist_ok=True)
    with Journal.open(folder / "m.h5", run_of()) as journal:
        fill(journal, pairs)
        journal.finish(pairs)
    return (folder / "m.h5").read_bytes()


def segments(output: Path) -> list[Path]:
    return sorted((output.parent / f"{output.name}.journal").glob("*.seg"))
