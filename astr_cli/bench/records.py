"""The results of benchmarks."""

from dataclasses import dataclass

from astr_cli.errors import AstrError


class BenchError(AstrError):
    """A benchmark request that cannot be run."""


@dataclass(frozen=True)
class Machine:
    """The machine behind the figures, and its best rates, measured in this run."""

    device: str
    threads: int
    torch: str
    dtype: str
    matmul_gflops: float  # rate of a large matrix product
    copy_gigabytes: float  # per second, read and written together


@dataclass(frozen=True)
class Timing:
    """One implementation at one size, or why it was left out."""

    operator: str  # attention or dual softmax
    grid: str
    batch: int
    lists: str  # realistic, random, or empty
    keys: float | None  # per query, on average
    step: str  # forward or forward+backward
    implementation: str
    milliseconds: float | None = None  # median of several calls
    best: float | None = None  # the quickest call, milliseconds
    ratio: float | None = None  # the peer's median over this one: above 1 is quicker than the peer
    megabytes: float | None = None  # most memory held at once beyond the inputs; None = not measurable here
    skipped: str = ""


@dataclass(frozen=True)
class PipelineRun:
    """One way to match all pairs of a set of photos."""

    name: str
    images: int
    pairs: int  # of the whole set
    measured_pairs: int  # fewer than `pairs`: the rest is extrapolated
    seconds: float  # wall clock, for all pairs
    core_seconds: float | None  # processor time of the process; None = not measured
    backbone_runs: int
    matches: float  # rows per pair, on average
    host_megabytes: float | None  # most resident memory of the process; None = not measured
    device_megabytes: float | None
    at_once: int  # batches processed in parallel
    stages: dict[str, float]  # seconds in each, summed over parallel work


@dataclass(frozen=True)
class AdaptiveRun:
    """The same pairs with `--adaptive` and without it, with their features computed before."""

    name: str  # which pairs
    pairs: int
    without_matches: float  # rows per pair, on average
    matches: float  # with --adaptive
    without_seconds: float  # wall clock per pair
    seconds: float
    without_core_seconds: float  # processor time per pair
    core_seconds: float


@dataclass(frozen=True)
class RefinementRun:
    """The refinement of the tracks that the matches make, on one thread."""

    images: int
    keypoints: int  # of all tracks
    refined: int
    seconds: float
    core_seconds: float
    of_matching: float | None  # share of the processor time of matching the same pairs; None: that was not measured
    host_megabytes: float | None


@dataclass(frozen=True)
class Floor:
    """The time of the operations at the rate of a matrix product plus the time of the bytes at the rate of a copy."""

    image_gflop: float
    pair_gflop: float
    gflop: float  # of the whole set, every image's backbone once
    gigabytes: float
    seconds: float
    core_gflops: float  # rate of a matrix product on one core, by processor time
    core_seconds: float  # operations at that rate


@dataclass(frozen=True)
class PipelineSummary:
    """Ratios from the figures of a pipeline."""

    seconds_a_pair: float
    over_floor: float  # wall clock over the floor
    core_over_floor: float | None  # the same in processor time, of a CPU: holds on a busy machine too
    backbone_share: float  # of the loop's time
    sharing_allows: float  # speed-up over the loop when each image's backbone runs once and nothing else changes
    speedup: float  # over the loop
    core_speedup: float | None  # in processor time: the gain of sharing the backbone; only with one thread per pair
    of_sift: float  # SIFT's time over astr's
    backbone_runs: int
    least_backbone_runs: int
