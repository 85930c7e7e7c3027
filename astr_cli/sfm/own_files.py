"""The files of an earlier `astr reconstruct`, which a later one may replace; any other file of these names stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.files import parse_json

PLY = "points.ply"  # astr writes it beside COLMAP's files, COLMAP does not


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model that astr mapped."""
    return not folder.is_symlink() and all((folder / name).is_file() for name in ("points3D.bin", PLY))


def require_own_models(sparse: Path) -> None:
    """Raises AstrError when a model of another program lies where astr puts its own."""
    for folder in sorted(sparse.iterdir()) if sparse.is_dir() else ():
        other = folder.name == "0" or (folder / "points3D.bin").is_file()
        if folder.name.isdecimal() and other and not is_model(folder) and not _is_empty(folder):
            raise AstrError(f"{folder}: exists and is not a model of astr, so astr keeps it; choose another --out")


def require_own_files(marks: dict[Path, str]) -> None:
    """Raises AstrError when a file is neither missing, nor empty, nor astr's.

    The mark of a JSON file is a name in it, of any other file its beginning.
    """
    for path, mark in marks.items():
        if os.path.lexists(path) and not _has_mark(path, mark):
            raise AstrError(f"{path}: exists and was not written by astr reconstruct; choose another --out")


def _has_mark(path: Path, mark: str) -> bool:
    if not path.is_file():
        return False
    if path.suffix == ".json":
        try:
            record = parse_json(path.read_bytes())
        except ValueError:
            return False
        return isinstance(record, dict) and mark in record
    with path.open("rb") as file:
        start = file.read(len(mark.encode()))
    return not start or start == mark.encode()


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(_entries(folder))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from entries
