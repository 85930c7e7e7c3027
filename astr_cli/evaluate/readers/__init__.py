"""From files on disk to benchmarks: one reader a layout."""
