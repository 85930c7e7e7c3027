"""Readers that make benchmarks from files on disk, one per layout."""
