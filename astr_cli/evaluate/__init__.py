"""How good matches are: benchmarks with known truth, their readers, and the figures."""
