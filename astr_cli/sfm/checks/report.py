"""What a check found in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning", "note"]
EXAMPLES = 3  # of each finding that are written out

# What each check looks for: the first words of its line. Errors break a reader or falsify a result; warnings cost
# images or precision; notes are how things are.
CHECKS: Mapping[str, str] = {
    "damaged": "cannot be read",
    "bad-array": "arrays of a wrong shape or type, or with values that are not finite",
    "index-range": "match indices beyond the keypoints",
    "unknown-image": "pairs of images that are not there",
    "config-0": "geometries of undefined configuration (0), which COLMAP 4.2 skips",
    "missing-frame": "images without a frame, among others that have one: COLMAP stops at them",
    "missing-camera": "images without a camera, or rigs, frames and priors that point nowhere",
    "name-collision": "names that one key stands for",
    "duplicate-pair": "pairs that come twice",
    "swapped-pair": "pairs with the higher image id first, where COLMAP never looks",
    "repeated-match": "pairs with the same match more than once",
    "self-pair": "images paired with themselves",
    "row-mismatch": "images with unlike numbers of keypoints and descriptors",
    "float16": "images whose keypoints are float16, which is off by up to a pixel beyond 2048",
    "half-pixel": "images whose points look half a pixel off",
    "outside": "images with points outside",
    "not-mappable": "no pair with a geometry of at least 15 inliers, so no model can come of it",
    "orphan-image": "images without any match",
    "components": "groups of images that no match joins",
    "empty-pair": "pairs without matches",
    "articulation": "images that alone hold others together",
    "no-keypoints": "no file of keypoints named or beside it, so indices were not checked",
    "open-database": "changes that are not in the file yet",
    "old-database": "no frames at all, as before COLMAP 3.12; COLMAP adds them",
    "config-empty": "pairs of undefined configuration (0) without matches",
}


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found, how often, and where first."""

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
    """All that was found in one file."""

    path: str
    kind: str = ""  # such as "hloc features"; "" when it could not be read
    images: int = 0
    pairs: int = 0
    matches: int = 0
    findings: tuple[Finding, ...] = ()
    unreadable: str | None = None  # why nothing could be said of it

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
        return FileReport(**{**record, "findings": tuple(findings)})


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
    """Nothing can be said of a file; the message is one line without the path."""


def printable(text: str, longest: int = 200) -> str:
    """One line that any terminal and JSON can take, whatever a damaged file held."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= longest else f"{shown[:longest]}..."


def names_of(name0: str, name1: str) -> str:
    """A pair as examples show it."""
    return f"{name0} - {name1}"
