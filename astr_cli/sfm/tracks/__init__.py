"""Tracks: pairwise matches in memory, joined into tracks of one surface point each."""
