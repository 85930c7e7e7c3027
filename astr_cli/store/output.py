"""The content of a finished matches.h5, read once: with many pairs reading takes a minute."""

import time
from pathlib import Path
from typing import NamedTuple

from astr_cli.store.errors import StoreError
from astr_cli.store.matches_file import MatchesFile, is_foreign
from astr_cli.store.run_info import ImageStamp, RunInfo, require_same
from astr_cli.store.types import StoredPair

AHEAD_NS = 600 * 10**9  # more than the clock of a file server is ahead of this machine's
SIGNATURE = b"\x89HDF\r\n\x1a\n"  # how every HDF5 file begins


class _Version(NamedTuple):
    """Differs after a file was written again."""

    inode: int
    mtime_ns: int
    size: int  # bytes


class Output(NamedTuple):
    """A matches.h5 without its rows."""

    path: Path
    version: _Version
    attributes: dict[str, str]
    pairs: tuple[StoredPair, ...]

    def names(self) -> list[tuple[str, str]]:
        """(name0, name1) of each pair."""
        return [(pair.name0, pair.name1) for pair in self.pairs]

    def reusable(self, run: RunInfo) -> frozenset[tuple[str, str]]:
        """The pairs (name0, name1) that need not be matched again for `run`.

        A pair serves when both images have the size and the content (hash) stored. A file of astr 0.1 holds no hashes
        and no times (equal results shall be equal bytes): there, both images must be older than the file, and a time
        far in the future (from a camera or another file system) is ignored. Raises JournalMismatch: other options.
        """
        require_same(self.path, {k: v for k, v in self.attributes.items() if k != "format"}, run)
        stamps = run.stamps()
        return frozenset(
            (pair.name0, pair.name1)
            for pair in self.pairs
            if self._serves(stamps.get(pair.name0), pair.size0, pair.content0)
            and self._serves(stamps.get(pair.name1), pair.size1, pair.content1)
        )

    def _serves(self, stamp: ImageStamp | None, size: tuple[int, int], content: str) -> bool:
        if stamp is None or (stamp.width, stamp.height) != size:
            return False
        if content and stamp.content:
            return content == stamp.content
        return stamp.mtime_ns < self.version.mtime_ns or stamp.mtime_ns > time.time_ns() + AHEAD_NS


def refuse_foreign(path: Path) -> None:
    """Raises StoreError when `path` is a file that no run may replace, even with --overwrite: for example a photo."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    try:
        with path.open("rb") as file:
            ours = file.read(len(SIGNATURE)) == SIGNATURE
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); choose another --out") from None
    if not ours:
        raise StoreError(f"{path}: exists and is not an HDF5 file, so astr keeps it; choose another --out")
    if is_foreign(path):
        raise StoreError(f"{path}: exists and was not written by astr match, so astr keeps it; choose another --out")


def read_output(path: Path, known: Output | None = None) -> Output | None:
    """Reads a finished `path`; None without a file. An earlier reading, `known`, serves while the file is the same.

    Raises StoreError: damaged, or not from astr.
    """
    refuse_foreign(path)
    if not path.exists():
        return None
    status = path.stat()
    version = _Version(status.st_ino, status.st_mtime_ns, status.st_size)
    if known is not None and (known.path, known.version) == (path, version):
        return known
    try:
        with MatchesFile(path) as file:
            return Output(path, version, file.attributes, file.pairs())
    except StoreError as error:
        raise StoreError(f"{str(error).split(';')[0]}; choose another --out, or replace it with --overwrite") from None
