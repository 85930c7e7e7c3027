"""Writing pair lists, in the form that `read_pairs` reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from astr_cli.files import check_output_file, real_path, write_whole
from astr_cli.pairs.reading import PairsError, format_pair, read_pairs


def pairs_text(pairs: Iterable[tuple[str, str]]) -> str:
    """One line per pair. Raises PairsError for names that no line can hold."""
    return "".join(f"{format_pair(*pair)}\n" for pair in pairs)


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]], overwrite: bool = False) -> None:
    """Writes a pair list, complete or not at all; an existing file with the same text is left as it is.

    Raises PairsError: another file has that name and `overwrite` is not set or it is no pairs file, or it cannot be
    written.
    """
    text = pairs_text(pairs)
    path = real_path(path)
    check_output_file(path)
    try:
        if path.exists() and not overwrite:
            if path.is_file() and path.read_bytes() == text.encode():
                return
            raise PairsError(f"{path}: already exists with other content; replace it with --overwrite")
        if path.exists():
            _require_pairs(path)
        write_whole(path, text)
    except OSError as error:
        raise PairsError(f"{path}: cannot be written ({error.strerror or error}); choose another --out") from None


def _require_pairs(path: Path) -> None:
    """Raises PairsError when `overwrite` would replace anything but a pairs file: for example a photo."""
    try:
        if path.stat().st_size:
            read_pairs(path)
    except PairsError:
        raise PairsError(f"{path}: exists and is not a pairs file, so astr keeps it; choose another --out") from None
