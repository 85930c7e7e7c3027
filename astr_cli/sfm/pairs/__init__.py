"""Choosing the pairs of photos to match."""
