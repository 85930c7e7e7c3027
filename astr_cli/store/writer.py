"""Writing matches.h5: complete, or not at all."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py

from astr_cli.files import temporary_path
from astr_cli.store.errors import StoreError, disk_full, is_full
from astr_cli.store.groups import GroupWriter, pair_group
from astr_cli.store.index import IndexBuilder
from astr_cli.store.run_info import sync_folder
from astr_cli.store.shield import ShieldedFile
from astr_cli.store.types import MatchEntry

FORMAT = "astr-matches-3"


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
                place = _write_all(raw, options, entries)
                if place is not None:
                    _note_size(raw, place)
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


def _write_all(raw: ShieldedFile, options: Iterable[tuple[str, str]], entries: Iterable[MatchEntry]) -> int | None:
    """Returns where the index wants the size of the finished file."""
    with h5py.File(raw, "w", track_order=False) as file:
        # Sorted, as HDF5 lists them: a file made from others is the same as one made from options.
        for name, value in sorted((("format", FORMAT), *options)):
            _write_text(file, name, value)
        groups, index = GroupWriter(file), IndexBuilder()
        for entry in entries:
            index.add(entry, groups.write(pair_group(entry.name0, entry.name1), entry))
            if raw.error is not None:
                return None
        return index.write(file)


def _note_size(raw: ShieldedFile, place: int) -> None:
    size = raw.seek(0, os.SEEK_END)
    raw.seek(place)
    raw.write(size.to_bytes(8, "little", signed=True))


def _write_text(group: h5py.Group, name: str, value: str) -> None:
    """A UTF-8 attribute of fixed length. HDF5 keeps the other kind in a heap: slower, larger, and reading it from a
    damaged file may never end."""
    data = value.encode()
    group.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
