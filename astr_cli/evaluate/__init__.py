"""The quality of matches: benchmarks with ground truth, their readers, and the figures."""
