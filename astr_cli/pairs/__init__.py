"""Pair lists: text files with two image names a line, how they are chosen and how they hang together."""
