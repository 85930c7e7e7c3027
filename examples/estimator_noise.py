"""How much pose AUC depends on nothing but the order of the matches, by each estimator. Run as
    python examples/estimator_noise.py SCENE matches.h5 [--orders 8]

SCENE is a folder with true cameras (gt.json of type pose, or an index file) that matches.h5 was matched on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.evaluate.pose_folder import PoseFolder, PoseTotals
from astr_cli.evaluate.readers.find import find_benchmarks
from astr_cli.evaluate.run import evaluate
from astr_cli.evaluate.stored_matches import StoredMatches, long_side_of
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.types import PairMatches

FIGURES = ("auc1", "auc2", "auc3", "auc5", "auc10", "auc20")


def measure(benchmark: PoseFolder, path: Path, order: int) -> list[PoseTotals]:
    """A row per estimator, with the rows of each pair in random order number `order`."""
    random = np.random.default_rng(order)
    with MatchesFile(path) as file:
        stored = StoredMatches(benchmark, file)

        def shuffled(name0: str, name1: str) -> PairMatches:
            matches = stored.match(name0, name1)
            return matches.where(random.permutation(len(matches)))

        done = evaluate(stored.held(benchmark), path.stem, shuffled, long_side_of(path))
    return [totals for totals in done.totals if isinstance(totals, PoseTotals)]


def main(scene: Path, matches: Path, orders: int) -> None:
    """Prints mean and standard deviation of every AUC."""
    benchmarks = find_benchmarks(scene)
    if len(benchmarks) != 1 or not isinstance(benchmarks[0], PoseFolder):
        raise AstrError(f"{scene}: give the folder of one benchmark with poses")
    runs = [measure(benchmarks[0], matches, order) for order in range(orders)]
    print(f"AUC in %, mean and standard deviation over {orders} orders of the same matches")
    for rows in zip(*runs, strict=True):
        values = 100 * np.array([[getattr(row, figure) for figure in FIGURES] for row in rows])
        parts = [
            f"{figure} {mean:.1f} ± {spread:.2f}"
            for figure, mean, spread in zip(FIGURES, values.mean(axis=0), values.std(axis=0, ddof=1), strict=True)
        ]
        print(f"{rows[0].estimator}: {', '.join(parts)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("matches", type=Path)
    parser.add_argument("--orders", type=int, default=8, help="at least 2")
    arguments = parser.parse_args()
    try:
        main(arguments.scene, arguments.matches, arguments.orders)
    except AstrError as error:
        raise SystemExit(f"estimator_noise.py: {error}") from None
