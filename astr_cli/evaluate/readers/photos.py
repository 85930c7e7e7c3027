"""Finds the photos of an index file, in its folder or in a folder near it."""

from collections.abc import Iterator
from pathlib import Path

from astr_cli.evaluate.benchmark import EvaluateError, require_photo_name

LEVELS = 3  # LoFTR has data/megadepth/index/NAME/*.npz next to data/megadepth/test/


def photo_root(folder: Path, name: str, source: Path) -> Path:
    """The folder that `name` is relative to: `folder`, one of three above it, or a folder in one of these.

    Raises EvaluateError that names `source` if no folder fits.
    """
    require_photo_name(name, source)
    for candidate in _near(folder.absolute()):
        if (candidate / name).is_file():
            return candidate
    raise EvaluateError(
        f"{source}: its photos were not found: no {name} in {folder}, in a folder within it, or up to {LEVELS} levels "
        "above; put the photos or a link to them there"
    )


def _near(folder: Path) -> Iterator[Path]:
    for base in (folder, *list(folder.parents)[:LEVELS]):
        yield base
        try:
            yield from sorted(child for child in base.iterdir() if child.is_dir() and not child.name.startswith("."))
        except OSError:  # a folder that cannot be listed is ignored
            continue
