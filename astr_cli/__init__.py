"""astr: image matching for photogrammetry.

>>> from astr_cli import Matcher
>>> matcher = Matcher.load("astr-small")
>>> matches = matcher.match("a.jpg", "b.jpg")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astr_cli.matching.matcher import Matcher, Matches

    __version__: str

__all__ = ["Matcher", "Matches", "__version__"]


def __getattr__(name: str) -> Any:
    """Imports the heavy parts when they are asked for (PEP 562): `astr --help` needs none of them."""
    if name in ("Matcher", "Matches"):
        from astr_cli.matching import matcher

        return getattr(matcher, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("astr-cli")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
