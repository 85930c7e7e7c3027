"""Counts, durations, lists and errors of libraries in sentences of one line."""

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """`1 pair`, `2 pairs`, `1,200 matches`: a count with its noun."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count:,} {noun}es" if noun.endswith("ch") else f"{count:,} {noun}s"


def listed(names: Sequence[str], most: int) -> str:
    """`a, b and 3 more`: the first `most` names, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, without quotes around it; the error's type when the text is empty."""
    return (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]


def listed_choices(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def duration_text(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
