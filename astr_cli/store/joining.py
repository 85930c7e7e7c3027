"""Several matches files as one: parts of one list of pairs, made with the same options from the same photos."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from astr_cli.store.errors import JournalMismatch, StoreError
from astr_cli.store.groups import key_order, pair_group
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.run_info import FOLDERS, shown
from astr_cli.store.types import PairMatches, StoredPair


class JoinedMatches(NamedTuple):
    """The pairs of several matches files, each once."""

    paths: tuple[Path, ...]
    attributes: dict[str, str]
    """Of the first file, with its folders as seen from there."""
    pairs: tuple[StoredPair, ...]
    """Sorted by their key."""
    sources: tuple[Path, ...]
    """The file of each pair."""
    repeated: int
    """Pairs that more than one file holds, with equal rows."""


def joined_file(file: MatchesFile) -> JoinedMatches:
    """One file alone. Raises StoreError: damaged."""
    pairs = file.pairs()
    return JoinedMatches((file.path,), file.attributes, pairs, (file.path,) * len(pairs), 0)


def join_files(paths: Sequence[Path]) -> JoinedMatches:
    """Reads what several files hold, and checks that they belong together.

    Raises JournalMismatch: made with other options or weights; StoreError: a file is missing, damaged or not finished,
    a photo differs between two files, or a pair has other rows in another file.
    """
    paths = tuple(dict.fromkeys(paths))
    if len(paths) == 1:
        with MatchesFile(paths[0]) as file:
            return joined_file(file)
    _require_finished(paths)
    attributes: dict[str, str] = {}
    found: dict[str, tuple[StoredPair, Path]] = {}
    photos: dict[str, tuple[_Photo, Path]] = {}
    repeated = 0
    for path in paths:
        with MatchesFile(path) as file:
            attributes = attributes or file.attributes
            _require_equal_options(paths[0], attributes, path, file.attributes)
            for pair in file.pairs():
                for photo in _photos(pair):
                    _require_equal_photo(photos.setdefault(photo.name, (photo, path)), photo, path)
                known = found.setdefault(pair_group(pair.name0, pair.name1), (pair, path))
                if known[1] != path:
                    _require_equal_rows(known, pair, file)
                    repeated += 1
    _require_one_order(found)
    chosen = sorted(found.values(), key=lambda each: key_order(each[0][:2]))
    return JoinedMatches(
        paths, attributes, tuple(pair for pair, _ in chosen), tuple(path for _, path in chosen), repeated
    )


def seen_from(attributes: Mapping[str, str], old: Path, new: Path) -> dict[str, str]:
    """The attributes of the file `old` for the file `new`: folders are stored as seen from the file's own folder."""
    moved = dict(attributes)
    for name in FOLDERS:
        if moved.get(name, "none") != "none":
            with suppress(ValueError):  # another drive
                moved[name] = Path(os.path.relpath(old.parent / moved[name], new.parent)).as_posix()
    return moved


class _Photo(NamedTuple):
    name: str
    size: tuple[int, int]
    matched: tuple[int, int] | None
    content: str


def _photos(pair: StoredPair) -> tuple[_Photo, _Photo]:
    return (
        _Photo(pair.name0, pair.size0, pair.matched0, pair.content0),
        _Photo(pair.name1, pair.size1, pair.matched1, pair.content1),
    )


def _require_finished(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.with_name(f"{path.name}.journal").is_dir():
            raise StoreError(f"{path}: its run is not finished; run its astr match command again first")


def _require_equal_options(first: Path, old: Mapping[str, str], path: Path, new: Mapping[str, str]) -> None:
    new = seen_from(new, path, first)
    old = seen_from(old, first, first)
    lines = [
        f"{name}: {shown(old.get(name))} and {shown(new.get(name))}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    if lines:
        raise JournalMismatch(
            f"{first} and {path}: were matched with other options ({'; '.join(lines)})", "match both with the same ones"
        )


def _require_equal_photo(known: tuple[_Photo, Path], photo: _Photo, path: Path) -> None:
    old, first = known
    unlike = [
        f"{name} {shown(str(one))} and {shown(str(other))}"
        for name, one, other in zip(photo._fields, old, photo, strict=True)
        if one != other
    ]
    if unlike:
        raise StoreError(
            f"{first} and {path}: {photo.name} is not the same photo in both ({'; '.join(unlike)}); match the pairs of "
            "one of them again"
        )


def _require_equal_rows(known: tuple[StoredPair, Path], pair: StoredPair, file: MatchesFile) -> None:
    old, first = known
    names = f"{pair.name0} {pair.name1}"
    if old[:2] != pair[:2]:
        raise StoreError(
            f"{first} and {file.path}: the pairs {old.name0} {old.name1} and {names} have one key in HDF5; rename a "
            "photo and match again"
        )
    with MatchesFile(first) as other:
        problem = _unlike(other.read(old.name0, old.name1), file.read(pair.name0, pair.name1))
    if problem is not None:
        raise StoreError(f"{first} and {file.path}: the pair {names} {problem}; leave it out of one of them")


def _unlike(one: PairMatches, other: PairMatches) -> str | None:
    if len(one) != len(other):
        return f"has {len(one)} rows in one and {len(other)} in the other"
    for spec, array in one.columns().items():
        if array.tobytes() != other.columns()[spec].tobytes():
            return f"has other {spec.name} in each"
    return None


def _require_one_order(found: Mapping[str, tuple[StoredPair, Path]]) -> None:
    """Two files may hold a pair with its photos in either order: they were made from different lists."""
    for pair, path in found.values():
        other = found.get(pair_group(pair.name1, pair.name0))
        if other is not None and other[0][:2] == (pair.name1, pair.name0):
            raise StoreError(
                f"{path} and {other[1]}: hold the pair {pair.name0} {pair.name1} in both orders; leave it out of one "
                "of them"
            )
