"""Benchmarks whose figures the project quotes: operators and the whole pipeline beside their peers, in one run."""

from astr_cli.bench.operators import OperatorRequest, bench_operators
from astr_cli.bench.records import BenchError, Machine, Timing

__all__ = ["BenchError", "Machine", "OperatorRequest", "Timing", "bench_operators"]
