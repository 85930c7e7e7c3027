"""Pair lists: text files with two image names a line, how they are chosen and how they hang together."""

from .connectivity import Connectivity, connectivity
from .reading import Pair, PairList, PairsError, format_pair, pair_key, read_pairs
from .selecting import limit_degree, unite
from .writing import pairs_text, write_pairs

__all__ = [
    "Connectivity",
    "Pair",
    "PairList",
    "PairsError",
    "connectivity",
    "format_pair",
    "limit_degree",
    "pair_key",
    "pairs_text",
    "read_pairs",
    "unite",
    "write_pairs",
]
