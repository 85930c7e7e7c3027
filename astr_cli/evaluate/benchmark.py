"""Benchmarks: photos, pairs, and a method that compares the matches of a pair with the ground truth."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.evaluate.metrics import Array
from astr_cli.images.catalogue import catalogue
from astr_cli.images.errors import ImageError
from astr_cli.names import NameProblem, require_name
from astr_cli.pairs.reading import Pair
from astr_cli.store.types import PairMatches

Size = tuple[int, int]  # (width, height)
Kind = Literal["pose", "homography", "disparity"]


class EvaluateError(AstrError):
    """An evaluation that cannot start; the message names the file, the fault and the remedy."""


class PairResult(Protocol):
    """The figures of one pair."""

    @property
    def name0(self) -> str: ...

    @property
    def name1(self) -> str: ...

    @property
    def matches(self) -> int:
        """Number of matches, right or wrong."""

    def caption(self) -> str:
        """The figures in a few words, for the caption of a drawing."""

    def record(self) -> dict[str, object]:
        """The figures for JSON: no infinities, no arrays."""


class Totals(Protocol):
    """Figures over all pairs of a benchmark: a frozen dataclass of strings, numbers and None (no pair had a figure)."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


R = TypeVar("R", bound=PairResult)


@dataclass(frozen=True)
class PairOutcome(Generic[R]):
    """The result of one pair while a benchmark runs, for plots and progress."""

    result: R
    matches: PairMatches
    errors: Array  # (M,) error of each match; 1 is the largest that counts as right; NaN: no ground truth


@dataclass(frozen=True, eq=False, kw_only=True)
class Benchmark(ABC, Generic[R]):
    """Photos with ground truth. Each data format has a reader; each type of truth has a subclass."""

    kind: ClassVar[Kind]

    name: str
    root: Path  # the folder of the benchmark
    images: Path  # the folder that names are relative to
    pairs: tuple[Pair, ...]  # the pairs to evaluate
    left_out: int = 0  # number of pairs in the folder that are not evaluated

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, Size]:
        """Raw size of each photo."""

    @property
    def intrinsics(self) -> Mapping[str, Array]:
        """True (3, 3) camera matrices of the raw photos that have one."""
        return {}

    @abstractmethod
    def score(self, name0: str, name1: str, matches: PairMatches, long_side: int) -> PairOutcome[R]:
        """The figures of a pair from its matches in raw pixels, found at the matched size `long_side`."""

    @abstractmethod
    def totals(self, results: Sequence[R]) -> tuple[Totals, ...]:
        """The figures over all pairs: the rows of the table."""

    def thinned(self, most: int) -> "Benchmark[R]":
        """The benchmark with at most `most` evenly spaced pairs, including the first and the last."""
        if most < 1:
            raise EvaluateError(f"--max-pairs {most}: give at least 1")
        count = len(self.pairs)
        if count <= most:
            return self
        rows = np.linspace(0, count - 1, most).round().astype(int)
        kept = tuple(self.pairs[row] for row in rows)
        return replace(self, pairs=kept, left_out=self.left_out + count - len(kept))

    def require_photos(self) -> None:
        """Raises EvaluateError for a photo of the pairs that is missing, unreadable or of another size."""
        names = [name for pair in self.pairs for name in (pair.name0, pair.name1)]
        for name, size in read_sizes(self.images, names, self.root).items():
            if size != self.sizes[name]:
                expected = self.sizes[name]
                raise EvaluateError(
                    f"{self.root}: {name} is {size[0]}x{size[1]}, but its truth is for {expected[0]}x{expected[1]}; "
                    "use the photos that the truth was made from"
                )


def read_sizes(images: Path, names: Iterable[str], source: Path) -> dict[str, Size]:
    """Raw sizes of the photos `names` below `images`. Raises EvaluateError, naming the `source` that lists them."""
    try:
        found = catalogue(images, names)
    except ImageError as error:
        raise EvaluateError(f"{source}: {error}") from None
    if found.errors:
        raise EvaluateError(f"{source}: {found.complaint()}")
    return {name: info.size for name, info in found.infos.items()}


def require_photo_name(name: object, source: Path) -> str:
    """The name of a photo in a benchmark's file. Raises EvaluateError for one that no photo may have."""
    try:
        return require_name(name)
    except NameProblem as problem:
        raise EvaluateError(f"{source}: {problem}") from None


def number_pairs(names: Iterable[tuple[str, str]], source: Path) -> tuple[Pair, ...]:
    """Pairs numbered from 1. Raises EvaluateError: none, one listed twice, a photo with itself."""
    pairs = tuple(Pair(name0, name1, line) for line, (name0, name1) in enumerate(names, 1))
    if not pairs:
        raise EvaluateError(f"{source}: contains no pairs; add some")
    seen: set[frozenset[str]] = set()
    for pair in pairs:
        both = frozenset(require_photo_name(name, source) for name in (pair.name0, pair.name1))
        if len(both) < 2 or both in seen:
            what = "is listed twice" if both in seen else "is a photo with itself"
            raise EvaluateError(f"{source}: pair {pair.line}, {pair.name0} {pair.name1}, {what}; delete it")
        seen.add(both)
    return pairs
