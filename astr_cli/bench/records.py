"""What a benchmark reports."""

from dataclasses import dataclass

from astr_cli.errors import AstrError


class BenchError(AstrError):
    """A benchmark that cannot be run as asked."""


@dataclass(frozen=True)
class Machine:
    """Where the figures come from, and what it can do at best, measured in this run."""

    device: str
    threads: int
    torch: str
    dtype: str
    matmul_gflops: float  # rate of a large matrix product
    copy_gigabytes: float  # a second, read and written together


@dataclass(frozen=True)
class Timing:
    """One implementation at one size, or why it was left out."""

    operator: str  # attention or dual softmax
    grid: str
    batch: int
    lists: str  # realistic, random, or empty
    keys: float | None  # a query, on average
    step: str  # forward or forward+backward
    implementation: str
    milliseconds: float | None = None  # median of several calls
    best: float | None = None  # the quickest call, milliseconds
    ratio: float | None = None  # the peer's median over this one: above 1 is quicker than the peer
    megabytes: float | None = None  # most memory held at once beyond the inputs; None = not measurable here
    skipped: str = ""
