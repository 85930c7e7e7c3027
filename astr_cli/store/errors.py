"""Errors of the files that astr writes, and the one test for "the disk is full"."""

import errno

from astr_cli.errors import AstrError, Stopped

# EFBIG: a size limit of the shell (ulimit -f) or of the file system; to the user it is the same.
FULL = frozenset(
    code for name in ("ENOSPC", "EDQUOT", "EFBIG") if (code := getattr(errno, name, None)) is not None
)  # Windows lacks EDQUOT


class StoreError(AstrError):
    """A file of astr is missing, damaged, locked or not from astr; the message says which and what to do."""


class JournalMismatch(StoreError):
    """Existing matches were made with other options or weights; `problem` lists each difference.

    A command with other options than those of `astr match` catches it, and says what to do there.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem


def is_full(error: OSError) -> bool:
    """Whether this error means that the disk is full."""
    return error.errno in FULL


def disk_full(name: str) -> Stopped:
    """The error (exit 4) for a full disk while writing `name`."""
    return Stopped(f"{name}: the disk is full; free some space and run the same command again to resume")
