"""Pair lists: text files with two image names a line."""

from .reading import Pair, PairList, PairsError, format_pair, pair_key, read_pairs

__all__ = ["Pair", "PairList", "PairsError", "format_pair", "pair_key", "read_pairs"]
