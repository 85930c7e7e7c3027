"""The pairs of a batch on their way through the rounds of aggregation: their maps, and where their cells look."""

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Masks: TypeAlias = tuple[Tensor | None, Tensor | None]  # of both images
Grid: TypeAlias = tuple[int, int]


class Maps(NamedTuple):
    """The maps of both levels of both images, and their masks (None: everything is valid)."""

    high0: Tensor  # (B, C, H0/8, W0/8)
    high1: Tensor
    low0: Tensor  # (B, C, H0/32, W0/32)
    low1: Tensor
    m8: Masks  # (B, H/8, W/8) bool, True = valid
    m32: Masks

    def of(self, places: list[int]) -> "Maps":
        """Those of some pairs; the very same tensors where that is all of them."""
        if len(places) == len(self.high0):
            return self
        high0, high1, low0, low1 = (maps[places] for maps in self[:4])
        return Maps(high0, high1, low0, low1, _of(self.m8, places), _of(self.m32, places))

    @property
    def grids(self) -> tuple[Grid, Grid]:
        """(height, width) of both images in cells."""
        (height0, width0), (height1, width1) = self.high0.shape[2:], self.high1.shape[2:]
        return (height0, width0), (height1, width1)

    @property
    def pooled_grids(self) -> tuple[Grid, Grid]:
        """The same in pooled cells of 2x2."""
        (height0, width0), (height1, width1) = self.grids
        return (height0 // 2, width0 // 2), (height1 // 2, width1 // 2)


class Going:
    """The pairs that have not ended, and the spots that their cells attend to."""

    def __init__(self, count: int) -> None:
        self.pairs = list(range(count))  # places in the batch
        self.searching = list(range(count))  # places in `pairs` of those that choose their spots in each round
        self.counts = [0] * count  # matches of those in the round before (astr_cli/model/early.py)
        self._centres: list[tuple[Tensor, Tensor]] = []

    def drop(self, ended: list[int]) -> list[int]:
        """Forget the pairs at these places in `searching`; returns the former places in `pairs` of those that stay."""
        gone = {self.searching[place] for place in ended}
        stay = [place for place in range(len(self.pairs)) if place not in gone]
        self.counts = [count for place, count in enumerate(self.counts) if place not in ended]
        self.searching = [stay.index(place) for place in self.searching if place not in gone]
        self.pairs = [self.pairs[place] for place in stay]
        self._centres = [self._centres[place] for place in stay] if self._centres else []
        return stay

    def look(self, centres0: Tensor, centres1: Tensor, settled: list[int]) -> None:
        """Give all pairs of `searching` new spots; those at the places `settled` keep theirs from now on."""
        found = list(zip(centres0, centres1, strict=True))
        self._centres = self._centres or found
        for place, centres in zip(self.searching, found, strict=True):
            self._centres[place] = centres
        self.counts = [count for index, count in enumerate(self.counts) if index not in settled]
        self.searching = [place for index, place in enumerate(self.searching) if index not in settled]

    @property
    def centres(self) -> tuple[Tensor, Tensor]:
        """The window centres of all pairs left: (B, N0, 1 + k) in image1, (B, N1, 1 + k) in image0."""
        centres0, centres1 = zip(*self._centres, strict=True)
        return torch.stack(centres0), torch.stack(centres1)


def _of(masks: Masks, places: list[int]) -> Masks:
    mask0, mask1 = masks
    return None if mask0 is None else mask0[places], None if mask1 is None else mask1[places]
