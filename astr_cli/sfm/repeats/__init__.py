"""Pairs that repeated structure misled: found on the graph of verified pairs, before the mapping."""
