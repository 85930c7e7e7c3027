"""Numbers in sentences."""


def counted(count: int, noun: str) -> str:
    """`1 pair`, `2 pairs`: a count with its noun, which takes an s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
