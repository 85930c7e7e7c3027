"""Events that a run reports while it works; the command line shows them, other callers may ignore them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FEW = 15  # rows: COLMAP asks for as many inliers before it believes a pair


@dataclass(frozen=True)
class Notice:
    """Something worth knowing that does not stop the run: a duplicate pair, a back-off after running out of memory."""

    text: str


@dataclass(frozen=True)
class Started:
    """All checks have passed, and nothing is computed yet."""

    images: int
    """Images in the pairs that are to be matched."""
    pairs: int
    """Pairs that matches.h5 will hold if no pair fails."""
    reused: int
    """The pairs of these that an earlier run matched already."""
    known_focals: int
    """Images whose focal length is known."""
    disk_bytes: int
    """Expected size of journal and output together."""
    cache_bytes: int
    """Room for features."""
    weights: str
    device: str
    precision: str
    long_side: int
    batch: int
    masked: int | None = None
    """Images that have a mask; None: a run without masks."""


@dataclass(frozen=True)
class PairDone:
    """A pair was matched and is in the journal."""

    name0: str
    name1: str
    matches: int
    """Rows of this pair."""
    finished: int
    """Pairs matched, reused and failed so far."""
    total: int
    cache_hits: int
    cache_misses: int
    memory_bytes: int | None
    """Memory in use; None when the system does not report it."""


@dataclass(frozen=True)
class PairFailed:
    """A pair could not be matched; the run continues with the others."""

    name0: str
    name1: str
    reason: str


@dataclass(frozen=True)
class StopRequested:
    """SIGINT or SIGTERM arrived; the run stops after the current batch."""

    signal: str


@dataclass(frozen=True)
class Writing:
    """All pairs are done and the output is being written."""

    path: Path
    pairs: int


Event = Notice | Started | PairDone | PairFailed | StopRequested | Writing
Listener = Callable[[Event], None]


@dataclass(frozen=True)
class FailedPair:
    """A pair that is not in the output, and why."""

    name0: str
    name1: str
    reason: str


@dataclass(frozen=True)
class FewMatches:
    """A pair of the output that hardly matches."""

    name0: str
    name1: str
    matches: int


@dataclass(frozen=True)
class MatchSummary:
    """The result of a run."""

    out: Path
    pairs: int
    """Pairs in the output: `matched + reused`."""
    matched: int
    """Pairs that this run computed."""
    reused: int
    """Pairs that an earlier run had computed."""
    failed: tuple[FailedPair, ...]
    matches: int
    """Rows of the pairs that this run computed."""
    images: int
    cache_hits: int
    cache_misses: int
    """Photos that went through the backbone, once per rotation; the small copies of `--rotate auto` not counted."""
    seconds: float
    fewest_misses: int = 0
    """Images in the batches that were computed: with room for all features, each goes through the backbone once."""
    few: tuple[FewMatches, ...] = ()
    """Pairs of the output with less than `FEW` rows."""
    turned: bool = False
    """Whether astr looked for rotations between photos (`--rotate auto`)."""
    looked_again: int = 0
    """Pairs of `matched` that were looked at again (`--focus auto`)."""
    skipped: int = 0
    """How many of `failed` were left out before the start (`--skip-bad`)."""
