"""Writing matches.h5: complete, or not at all."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np

from astr_cli.files import temporary_path
from astr_cli.store.errors import StoreError, disk_full, is_full
from astr_cli.store.run_info import sync_folder
from astr_cli.store.shield import ShieldedFile
from astr_cli.store.types import MatchEntry, problem_of

FORMAT = "astr-matches-2"


def pair_group(name0: str, name1: str) -> str:
    """The HDF5 group of a pair: hloc's key (docs/formats.md, Pair keys)."""
    return f"{name0.replace('/', '-')}/{name1.replace('/', '-')}"


def key_order(names: tuple[str, str]) -> tuple[bytes, bytes]:
    """Sorts pairs as HDF5 lists their groups: by the bytes of the outer group's name, then of the inner one's."""
    outer, inner = pair_group(*names).split("/")
    return outer.encode(), inner.encode()


def write_matches(
    path: Path,
    options: Iterable[tuple[str, str]],
    entries: Iterable[MatchEntry],
    before_rename: Callable[[], None] | None = None,
) -> None:
    """Write `entries`, in their order, to `path` (hloc's dense layout), with `options` as file attributes.

    The file is written beside it, synced and renamed, so `path` is always the old file or the new one; equal input
    gives equal bytes. Entries are taken one by one; `before_rename` runs once all are written (to close an old `path`
    that they are read from). Raises Stopped: disk full; StoreError: cannot be written; ValueError: two entries with
    one key, arrays of a wrong type or shape, values that are not finite.
    """
    temporary = temporary_path(path)
    try:
        raw = ShieldedFile(temporary)
        try:
            with raw:
                _write_all(raw, options, entries)
                if raw.error is not None:
                    raise raw.error
                os.fsync(raw.fileno())
            if before_rename is not None:
                before_rename()
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        if is_full(error):
            raise disk_full(str(path)) from None
        raise StoreError(f"{path}: cannot be written ({error.strerror or error}); choose another --out") from None


def _write_all(raw: ShieldedFile, options: Iterable[tuple[str, str]], entries: Iterable[MatchEntry]) -> None:
    with h5py.File(raw, "w", track_order=False) as file:
        # Sorted, as HDF5 lists them: a file made from others is the same as one made from options.
        for name, value in sorted((("format", FORMAT), *options)):
            _write_text(file, name, value)
        for entry in entries:
            _write_entry(file, entry)
            if raw.error is not None:
                return


def _write_entry(file: h5py.File, entry: MatchEntry) -> None:
    columns = entry.matches.columns()
    problem = problem_of(list(columns.values()))
    if problem is not None:
        raise ValueError(f"{entry.name0} {entry.name1}: {problem}")
    key = pair_group(entry.name0, entry.name1)
    if key in file:
        raise ValueError(f"two pairs with the key {key}")
    group = file.create_group(key)
    _write_text(group, "name0", entry.name0)
    _write_text(group, "name1", entry.name1)
    group.attrs["size0"] = np.array(entry.size0, np.int32)
    group.attrs["size1"] = np.array(entry.size1, np.int32)
    if entry.matched0 is not None and entry.matched1 is not None:
        group.attrs["matched0"] = np.array(entry.matched0, np.int32)
        group.attrs["matched1"] = np.array(entry.matched1, np.int32)
    for name, content in (("content0", entry.content0), ("content1", entry.content1)):
        if content:
            _write_text(group, name, content)
    for spec, array in columns.items():
        group.create_dataset(spec.name, data=array, dtype=spec.dtype, track_times=False)


def _write_text(group: h5py.Group, name: str, value: str) -> None:
    """A UTF-8 attribute of fixed length. HDF5 keeps the other kind in a heap: slower, larger, and reading it from a
    damaged file may never end."""
    data = value.encode()
    group.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
