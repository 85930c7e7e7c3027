"""COLMAP's mapper, and what its models tell: cameras, agreement of pairs, place on the earth."""
