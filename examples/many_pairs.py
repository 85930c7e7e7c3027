"""What the bookkeeping of many pairs costs: the journal, matches.h5 and its reading, without any matching.

    python many_pairs.py FOLDER [--photos 20000] [--pairs 1000000] [--rows 20]

Prints, for each step, CPU time, CPU time per pair and the memory that the process needed. Every step is a process.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from astr_cli.store.journal import Journal
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.output import read_output
from astr_cli.store.run_info import ImageStamp, RunInfo
from astr_cli.store.types import PairMatches

SIZE, MATCHED = (4000, 3000), (640, 480)


class Made(NamedTuple):
    """A made-up run."""

    out: Path
    photos: int
    pairs: int
    rows: int

    def info(self) -> RunInfo:
        """As of a run with these photos."""
        names = [f"folder/photo_{number:06d}.jpg" for number in range(self.photos)]
        stamps = tuple(ImageStamp(name, *SIZE, 1, 1, f"{number:064x}") for number, name in enumerate(names))
        return RunInfo((("long_side", "640"),), stamps, dict.fromkeys(names, MATCHED))

    def names(self) -> Iterator[tuple[str, str]]:
        """Each photo with those that follow it."""
        each = -(-self.pairs // self.photos)
        for number in range(self.pairs):
            first = number // each
            second = (first + 1 + number % each) % self.photos
            yield f"folder/photo_{first:06d}.jpg", f"folder/photo_{second:06d}.jpg"


def match(made: Made) -> None:
    """Fills the journal."""
    random = np.random.default_rng(0)
    points = (random.random((2, made.rows, 2)) * 3000).astype(np.float32)
    scores = np.sort(random.random(made.rows).astype(np.float32))[::-1].copy()
    matches = PairMatches(points[0], points[1], scores, np.zeros(made.rows, np.uint8))
    with Journal.open(made.out, made.info()) as journal:
        for names in made.names():
            journal.append(*names, matches)


def start(made: Made) -> None:
    """Lists what a stopped run has matched."""
    with Journal.open(made.out, made.info()) as journal:
        print(len(journal.completed()), file=sys.stderr)


def finish(made: Made) -> None:
    """Lists it, and writes matches.h5 from it."""
    with Journal.open(made.out, made.info()) as journal:
        journal.finish(made.names())


def rerun(made: Made) -> None:
    """The same command again: nothing is to be done."""
    output = read_output(made.out)
    if output is None or len(output.reusable(made.info())) != made.pairs:
        raise SystemExit("pairs are missing")


def count(made: Made) -> None:
    """Counts the rows of every pair, as the end of a run does."""
    with MatchesFile(made.out) as file:
        print(sum(file.count(*names) for names in made.names()), file=sys.stderr)


def read(made: Made) -> None:
    """Reads all rows, as an import does."""
    with MatchesFile(made.out) as file:
        print(sum(len(file.read(*names)) for names in made.names()), file=sys.stderr)


STEPS: dict[str, Callable[[Made], None]] = {step.__name__: step for step in (match, start, finish, rerun, count, read)}


def main() -> None:
    """Runs all steps, or in a process of its own one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    made = Made(given.folder / "matches.h5", given.photos, given.pairs, given.rows)
    if given.step is None:
        given.folder.mkdir(parents=True, exist_ok=True)
        for name in STEPS:
            subprocess.run([sys.executable, *sys.argv, "--step", name], check=True)
        print(f"{made.out.stat().st_size / made.pairs:.0f} bytes per pair")
        return
    before = time.process_time()
    STEPS[given.step](made)
    seconds = time.process_time() - before
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{given.step:8} {seconds:8.1f} s  {1e3 * seconds / made.pairs:7.3f} ms per pair  {memory:6.0f} MB", flush=True
    )


if __name__ == "__main__":
    main()
