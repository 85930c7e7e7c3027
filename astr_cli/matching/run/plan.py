"""From a list of pairs to batches: in an order that keeps features cached, and the same on every run.

A batch holds pairs whose two matched sizes agree, so that their features stack. Batches are cut from the FULL sorted
list, never from the remaining pairs: small matrix products change in their last bits with their row count, so a resumed
run has to compute the same batches as an uninterrupted one. (Another pairs file is another plan: with
`--batch 1`, the default on a CPU, a pair's bytes do not depend on it; with larger batches they agree within 1e-3 px.)
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from astr_cli.pairs.reading import Pair

Size = tuple[int, int]  # (width, height) in matched pixels


@dataclass(frozen=True)
class PairBatch:
    """Pairs that are matched together; `pairs[i].name0` all have one matched size, and so have all `name1`."""

    pairs: tuple[Pair, ...]

    def names(self) -> tuple[str, ...]:
        """Each image of the batch once, in the order of use."""
        return tuple(dict.fromkeys(name for pair in self.pairs for name in (pair.name0, pair.name1)))


def make_plan(pairs: Sequence[Pair], sizes: Mapping[str, Size], batch: int) -> list[PairBatch]:
    """Cuts `pairs` into batches of at most `batch` pairs of equal (size0, size1), in a cache-friendly order.

    `sizes` gives each image's matched size. The order does not depend on how much memory there is.
    """
    full: list[PairBatch] = []
    filling: dict[tuple[Size, Size], list[Pair]] = {}
    for pair in _local_order(pairs):
        shape = (sizes[pair.name0], sizes[pair.name1])
        group = filling.setdefault(shape, [])
        group.append(pair)
        if len(group) == batch:
            full.append(PairBatch(tuple(filling.pop(shape))))
    return full + [PairBatch(tuple(group)) for group in filling.values()]


def unfinished(plan: Sequence[PairBatch], done: Container[tuple[str, str]]) -> list[PairBatch]:
    """The batches with any pair whose names are not in `done`; each is to be computed whole."""
    return [batch for batch in plan if any((pair.name0, pair.name1) not in done for pair in batch.pairs)]


def _local_order(pairs: Sequence[Pair]) -> list[Pair]:
    """Sorts by the Morton code of (first image, second image), images numbered as they appear in the list.

    The curve visits blocks of blocks, so an LRU cache of any size hits: all pairs of N images with room for C cost
    about N^2 / C extractions, where row by row costs N^2 / 2.
    """
    number: dict[str, int] = {}
    for pair in pairs:
        number.setdefault(pair.name0, len(number))
        number.setdefault(pair.name1, len(number))

    def key(pair: Pair) -> tuple[int, int, int]:
        first, second = sorted((number[pair.name0], number[pair.name1]))
        return _morton(first, second), first, second

    return sorted(pairs, key=key)


def _morton(first: int, second: int) -> int:
    """Interleaves the bits of two numbers below 2^32."""
    return _spread(first) << 1 | _spread(second)


def _spread(value: int) -> int:
    """Moves bit i of a 32-bit number to bit 2 i."""
    value = (value | value << 16) & 0x0000FFFF0000FFFF
    value = (value | value << 8) & 0x00FF00FF00FF00FF
    value = (value | value << 4) & 0x0F0F0F0F0F0F0F0F
    value = (value | value << 2) & 0x3333333333333333
    return (value | value << 1) & 0x5555555555555555
