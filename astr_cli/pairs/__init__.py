"""Pair lists: text files with two image names per line, how they are chosen and how they connect the photos."""
