"""Benchmarks behind the published figures: operators and the whole pipeline beside their peers, in one run."""
