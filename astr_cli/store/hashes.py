"""Hashes of photos and masks, kept beside matches.h5 so that only changed files are read again.

`.matches.h5.astr-hashes` is a cache: it may be deleted at any time. A file whose size, times and inode are as noted has
the hash noted; any other file is hashed again. So a project that was moved or copied is still the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.files import parse_json, read_own, write_whole

FORMAT = "1"
UNREADABLE = "-"  # equal to no hash: the file vanished or cannot be read
PART = 1 << 20  # bytes
SETTLED_NS = 2 * 10**9  # a file may change once more within one tick of its times: FAT counts in two seconds


class FileState(NamedTuple):
    """What a change of a file changes."""

    size: int
    mtime_ns: int
    ctime_ns: int  # also changes when a program sets the other time back
    inode: int

    @staticmethod
    def of(path: Path) -> FileState:
        """The state now. Raises OSError."""
        status = path.stat()
        return FileState(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def is_settled(self) -> bool:
        """Whether a later change will be seen in the times."""
        return max(self.mtime_ns, self.ctime_ns) < time.time_ns() - SETTLED_NS


class HashBook:
    """The SHA-256 of files, by their content. Not for several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted: dict[str, tuple[FileState, str]] = {}
        self._found: dict[str, str] = {}
        self._changed = False

    @staticmethod
    def beside(output: Path) -> HashBook:
        """The book of an output, with what earlier runs noted. A damaged one counts for nothing."""
        book = HashBook(output.with_name(f".{output.name}.astr-hashes"))
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            content = parse_json(read_own(book._path))
            if content["format"] == FORMAT:
                book._noted = {name: _noted(values) for name, values in content["files"].items()}
        return book

    def read(self, paths: Iterable[Path], threads: int = 1) -> None:
        """Hashes the files that are not noted as they are."""
        paths = list(paths)
        with ThreadPoolExecutor(max(1, threads), thread_name_prefix="astr-hash") as pool:
            for path, (state, content) in zip(paths, pool.map(self._look, paths), strict=True):
                key = self._key(path)
                self._found[key] = content
                if state is not None and self._noted.get(key) != (state, content):
                    self._noted[key] = (state, content)
                    self._changed = True

    def of(self, path: Path) -> str:
        """The hash of a file that `read` was given; UNREADABLE where it could not be read."""
        return self._found[self._key(path)]

    def save(self) -> None:
        """Notes the hashes for the next run; where that is not possible, the next run hashes again."""
        if not self._changed:
            return
        files = {name: [*state, content] for name, (state, content) in sorted(self._noted.items())}
        with suppress(OSError):
            write_whole(self._path, json.dumps({"format": FORMAT, "files": files}, ensure_ascii=False, indent=0))

    def _key(self, path: Path) -> str:
        with suppress(ValueError):  # another drive
            return Path(os.path.relpath(path, self._path.parent)).as_posix()
        return path.as_posix()

    def _look(self, path: Path) -> tuple[FileState | None, str]:
        """The hash, and the state to note it with; None: it may change unseen, or cannot be read."""
        try:
            state = FileState.of(path)
            known = self._noted.get(self._key(path))
            if known is not None and known[0] == state:
                return known
            content = hash_file(path)
            return (state if state.is_settled() and FileState.of(path) == state else None), content
        except OSError:
            return None, UNREADABLE


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def _noted(values: Any) -> tuple[FileState, str]:
    *state, content = values
    if len(state) != len(FileState._fields) or not isinstance(content, str) or len(content) != 64:
        raise ValueError("not a note")
    return FileState(*map(int, state)), content
