"""What a check says: one line, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    level: Level
    """note: astr works, but not as well as it could. problem: astr, or a part of it, cannot work."""
    check: str
    """What was checked, such as torch or memory."""
    text: str
    """One line."""
    todo: str = ""
    """What to do about it; empty: nothing, or what another finding says."""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", check, text)


def note(check: str, text: str, todo: str = "") -> Finding:
    """astr works, but not as well as it could."""
    return Finding("note", check, text, todo)


def problem(check: str, text: str, todo: str) -> Finding:
    """astr, or a part of it, cannot work."""
    return Finding("problem", check, text, todo)


def explained(error: BaseException) -> str:
    """Kind and text of an error, on one line of at most 300 characters."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:300] if said else type(error).__name__
