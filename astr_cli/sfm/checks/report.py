"""The findings of a check in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "note"]
EXAMPLES = 3  # of each finding that are written out

# The problem that each check reports: the first words of its line. Errors break a reader or falsify a result; warnings
# cost images or precision; notes are no problems.
CHECKS: Mapping[str, str] = {
    "damaged": "cannot be read",
    "index": "the index does not agree with the groups of pairs",
    "bad-array": "arrays of a wrong shape or type, or with values that are not finite",
    "index-range": "match indices beyond the keypoints",
    "unknown-image": "pairs or keypoints of images that are missing from the file",
    "config-0": "two-view geometries of undefined configuration (0), which COLMAP 4.2 skips",
    "missing-frame": "images without a frame while others have one; COLMAP stops at them",
    "missing-camera": "images without a camera, or rigs, frames and pose priors that refer to something missing",
    "name-collision": "different names with the same key",
    "duplicate-pair": "pairs that occur twice",
    "swapped-pair": "pairs with the higher image id first, where COLMAP never looks",
    "repeated-match": "pairs with the same match more than once",
    "self-pair": "images paired with themselves",
    "row-mismatch": "images with different numbers of keypoints and descriptors",
    "float16": "images with float16 keypoints, which are off by up to a pixel beyond 2048",
    "half-pixel": "images whose points look half a pixel off",
    "outside": "images with points outside the photo",
    "not-mappable": "no pair has a two-view geometry with at least 15 inliers, so COLMAP cannot build a model",
    "orphan-image": "images without any match",
    "components": "groups of images that no match connects",
    "empty-pair": "pairs without matches",
    "repeats": "pairs that repeated structure seems to have misled",
    "articulation": "images that are the only connection between others",
    "no-keypoints": "no keypoints file given or beside it, so astr did not check the indices",
    "open-database": "recent changes are not in the database file yet",
    "old-database": "no frames, as before COLMAP 3.12; COLMAP adds them",
    "config-empty": "pairs of undefined configuration (0) without matches",
}


@dataclass(frozen=True)
class Finding:
    """One kind of problem, how often it occurs, and where first."""

    level: Level
    check: str  # a key of CHECKS
    count: int
    examples: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line for people."""
        shown = "; ".join(self.examples)
        more = f" and {self.count - len(self.examples)} more" if self.count > len(self.examples) > 0 else ""
        return f"{CHECKS[self.check]}{': ' if shown else ''}{shown}{more}"


@dataclass(frozen=True)
class FileReport:
    """All findings in one file."""

    path: str
    kind: str = ""  # such as "hloc features"; "" when it could not be read
    images: int = 0
    pairs: int = 0
    matches: int = 0
    findings: tuple[Finding, ...] = ()
    unreadable: str | None = None  # why the file could not be checked
    repeats: tuple[tuple[str, str, str], ...] = ()  # two photos, and why repeated structure seems to have misled them

    @property
    def found(self) -> bool:
        """Whether there is more than notes."""
        return any(finding.level != "note" for finding in self.findings)

    def record(self) -> dict[str, Any]:
        """As JSON has it; `from_record` reads it back."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> FileReport:
        """The report that `record` made."""
        findings = (Finding(**{**each, "examples": tuple(each["examples"])}) for each in record["findings"])
        repeats = tuple((name0, name1, reason) for name0, name1, reason in record["repeats"])
        return FileReport(**{**record, "findings": tuple(findings), "repeats": repeats})


class Findings:
    """Collects findings of one file, in the order of CHECKS when asked for."""

    def __init__(self) -> None:
        self._levels: dict[str, Level] = {}
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, level: Level, check: str, example: str = "", count: int = 1) -> None:
        """Notes one more (or `count` more) of a kind."""
        if check not in CHECKS:
            raise ValueError(f"unknown check {check}")
        self._levels.setdefault(check, level)
        self._counts[check] = self._counts.get(check, 0) + count
        examples = self._examples.setdefault(check, [])
        if example and len(examples) < EXAMPLES:
            examples.append(printable(example))

    def list(self) -> tuple[Finding, ...]:
        """Everything found."""
        return tuple(
            Finding(self._levels[check], check, self._counts[check], tuple(self._examples[check]))
            for check in CHECKS
            if check in self._counts
        )


class UnreadableError(Exception):
    """A file cannot be checked; the message is one line without the path."""


def printable(text: str, longest: int = 200) -> str:
    """Text of a damaged file as one line that any terminal and JSON can show."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


def names_of(name0: str, name1: str) -> str:
    """A pair as examples show it."""
    return f"{name0} - {name1}"
