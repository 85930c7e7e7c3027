"""Benchmarks whose figures the project quotes: operators and the whole pipeline beside their peers, in one run."""
