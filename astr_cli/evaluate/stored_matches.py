"""Matches of an earlier run: the pairs of a benchmark in them, and whether they belong to its photos."""

import filecmp
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from astr_cli.evaluate.benchmark import Benchmark, EvaluateError, PairResult
from astr_cli.files import real_path
from astr_cli.sfm.tracks.match_rows import sigma_below
from astr_cli.store.matches_file import MatchesFile, stored_long_side
from astr_cli.store.types import PairMatches

R = TypeVar("R", bound=PairResult)
COMPARED = 3  # photos to compare if they exist in two folders


class StoredMatches:
    """The matches of an open file, by the names of a benchmark.

    max_sigma: leave out matches with a larger or unknown sigma. Raises EvaluateError for a file that contains none of
    the pairs or photos of another size.
    """

    def __init__(self, benchmark: Benchmark[Any], file: MatchesFile, max_sigma: float | None = None) -> None:
        self._file, self._max_sigma = file, max_sigma
        self._stored = {(pair.name0, pair.name1) for pair in file.pairs()}
        _require_sizes(benchmark, file)
        if not any(self.holds(pair.name0, pair.name1) for pair in benchmark.pairs):
            raise EvaluateError(f"{file.path}: contains no pair of {benchmark.root}; match the pairs of that folder")

    def holds(self, name0: str, name1: str) -> bool:
        """Whether the file has this pair, in either order."""
        return (name0, name1) in self._stored or (name1, name0) in self._stored

    def held(self, benchmark: Benchmark[R]) -> Benchmark[R]:
        """The benchmark with only the pairs in the file."""
        kept = tuple(pair for pair in benchmark.pairs if self.holds(pair.name0, pair.name1))
        return replace(benchmark, pairs=kept, left_out=benchmark.left_out + len(benchmark.pairs) - len(kept))

    def match(self, name0: str, name1: str) -> PairMatches:
        """The matches of a pair; empty for a pair that is not in the file.

        Raises StoreError: damaged, or sigma is asked for and was not stored.
        """
        if (name0, name1) in self._stored:
            return self._read(name0, name1)
        if (name1, name0) in self._stored:
            return self._read(name1, name0).swapped()
        return PairMatches.empty()

    def _read(self, name0: str, name1: str) -> PairMatches:
        matches = self._file.read(name0, name1)
        if self._max_sigma is None:
            return matches
        return matches.where(sigma_below(matches, self._max_sigma, self._file.path))


def long_side_of(path: Path) -> int:
    """The long side that a matches.h5 was matched at. Raises StoreError, or EvaluateError if it is not stored."""
    with MatchesFile(path) as file:
        long_side = stored_long_side(file.attributes)
    if long_side is None:
        raise EvaluateError(f"{path}: has no long side stored; create it with astr match")
    return long_side


def other_photos(benchmark: Benchmark[Any], file: MatchesFile) -> str | None:
    """The reason why the file seems to belong to other photos of the same names and sizes, or None.

    If the matched photos still exist, their bytes are compared; otherwise the last two folders of their path.
    """
    root = file.attributes.get("images")
    if not root:
        return None
    begin = f"{file.path}: was matched from {root}, not from {benchmark.images}"
    end = "if these are other photos, the figures are meaningless"
    folders = [folder for folder in (real_path(file.path).parent / root, Path(root)) if folder.is_dir()]
    if any(benchmark.images.is_dir() and folder.samefile(benchmark.images) for folder in folders):
        return None
    names = dict.fromkeys(name for pair in benchmark.pairs for name in (pair.name0, pair.name1))
    for folder in folders:
        compared = list(islice(_compared(folder, benchmark.images, names), COMPARED))
        if compared:
            different = next((name for name, same in compared if not same), None)
            return None if different is None else f"{begin}, and {different} differs; {end}"
    parts, expected = Path(root).parts[-2:], benchmark.images.resolve().parts
    return None if parts == expected[-len(parts) :] else f"{begin}; {end}"


def _compared(folder: Path, other: Path, names: Iterable[str]) -> Iterable[tuple[str, bool]]:
    """The photos that are in both folders, and whether their bytes are equal."""
    for name in names:
        if (folder / name).is_file() and (other / name).is_file():
            yield name, filecmp.cmp(folder / name, other / name, shallow=False)


def _require_sizes(benchmark: Benchmark[Any], file: MatchesFile) -> None:
    sizes = benchmark.sizes
    for pair in file.pairs():
        for name, size in ((pair.name0, pair.size0), (pair.name1, pair.size1)):
            expected = sizes.get(name, size)
            if expected != size:
                raise EvaluateError(
                    f"{file.path}: {name} was matched at {size[0]}x{size[1]}, but the truth in {benchmark.root} is for "
                    f"{expected[0]}x{expected[1]}; match the photos of this folder"
                )
