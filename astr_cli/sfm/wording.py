"""Numbers in sentences."""


def counted(count: int, noun: str) -> str:
    """`1 pair`, `2 pairs`, `2 matches`: a count with its noun."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun}es" if noun.endswith("ch") else f"{count} {noun}s"
