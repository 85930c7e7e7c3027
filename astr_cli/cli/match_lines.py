"""Lines of `astr match` about pairs: those that hardly match."""

from astr_cli.matching.events import FEW, MatchSummary

NAMED = 3  # pairs
MANY = 1 / 3  # of all pairs: less is usual, as not all listed photos overlap


def few_line(summary: MatchSummary) -> str | None:
    """How many pairs hardly match, and what may help when many do; None where none does."""
    count = len(summary.few)
    if not count:
        return None
    names = ", ".join(f"{pair.name0} {pair.name1} ({pair.matches})" for pair in summary.few[:NAMED])
    more = ", ..." if count > NAMED else ""
    verb = "has" if count == 1 else "have"
    line = f"{count} of {counted(summary.pairs, 'pair')} {verb} fewer than {FEW} matches: {names}{more}"
    if count < MANY * summary.pairs or summary.turned:
        return line
    return f"{line}; where photos are turned against each other, try --rotate auto with another --out"


def counted(count: int, noun: str) -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
