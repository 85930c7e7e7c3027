"""How much a pair, or a part of it, lacks or shows differently amid its matches: the less, the sooner it is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNSEEN = 3.0  # cells: where none of n cells differs, up to 3 of n may (rule of three, right 19 times in 20)

Floats = NDArray[np.float64]


class Doubts(NamedTuple):
    """Cells of several pairs or parts."""

    cells: Floats
    """(P,) that differ."""
    covered: Floats
    """(P,) that were compared."""

    @property
    def each(self) -> Floats:
        """(P,) the share that may differ."""
        return (UNSEEN + self.cells) / (1 + self.covered)

    def share(self, numbers: Sequence[int]) -> float:
        """The share that differs in some of them together."""
        chosen = list(numbers)
        return float(self.cells[chosen].sum() / (1 + self.covered[chosen].sum()))
