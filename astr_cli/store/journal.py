"""The journal: the matches of a run so far, kept so that a kill at any instant loses nothing that was written.

`matches.h5.journal/` beside the output holds `lock`, `run.json` (see run_info) and segments `000000.seg`, `000001.seg`,
... of records (see records). Each record carries the stamps of its two images, so a pair counts as done only for images
that are still the same: nothing has to be rewritten when one changes.
"""

import os
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.files import check_output_file, open_own, temporary_path
from astr_cli.store.errors import StoreError, disk_full, is_full
from astr_cli.store.groups import key_order
from astr_cli.store.lock import Lock
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.output import Output, read_output, refuse_foreign
from astr_cli.store.records import decode, encode, scan
from astr_cli.store.run_info import ImageStamp, RunInfo, load_run, require_same, save_run, sync_folder
from astr_cli.store.types import MatchEntry, PairMatches, problem_of
from astr_cli.store.writer import write_matches

SEGMENT_BYTES = 64 << 20
SYNC_SECONDS = 1.0

PairNames = tuple[str, str]


class _Place(NamedTuple):
    segment: Path
    offset: int
    length: int


class Journal:
    """The matches made so far, in the journal or in a finished output of an equal run. One thread uses it at a time.

    ```
    with Journal.open(Path("matches.h5"), run) as journal:
        for name0, name1 in set(pairs) - journal.completed():
            journal.append(name0, name1, matches)
        journal.finish(pairs)  # without it, the next Journal.open resumes from here
    ```
    """

    def __init__(self, output: Path, run: RunInfo, lock: Lock) -> None:
        self.output = output
        self.folder = lock.path.parent
        self.run = run
        self.notes: tuple[str, ...] = ()  # lines for the user: what was damaged and is done again
        self._lock = lock
        self._stamps = run.stamps()
        self._places: dict[PairNames, _Place] = {}
        self._old: Output | None = None  # None: there is none, or it does not count
        self._finished: frozenset[PairNames] = frozenset()  # in the old output, of use to this run
        self._recorded: set[PairNames] = set()  # in the journal, whether of use to this run or not
        self._fresh = False
        self._segment: Path | None = None
        self._handle = -1
        self._synced = 0.0

    @staticmethod
    def open(output: Path, run: RunInfo, overwrite: bool = False, known: Output | None = None) -> "Journal":
        """Lock `output` for this run and find what is done already, in its journal and in `output` itself.

        With `overwrite` the journal starts empty and `output` is not looked at (nor touched, before `finish`).
        `known` is what `output` held when it was read before; it is read again only if it was written to since.
        Raises JournalMismatch: options differ; StoreError: another run holds the lock, the folder cannot be written,
        existing files are damaged or not from astr; Stopped: disk full.
        """
        _need_place(output)
        folder = output.with_name(output.name + ".journal")
        with ExitStack() as undo:
            try:
                if folder.is_symlink():
                    raise StoreError(f"{folder}: is a link, which astr does not follow; remove it")
                new = not folder.is_dir()
                folder.mkdir(exist_ok=True)
                if new:  # a refused start leaves nothing behind
                    undo.callback(_remove_folder, folder)
                journal = Journal(output, run, undo.enter_context(Lock(folder / "lock", output)))
                if new:
                    undo.callback(journal._lock.release, remove=True)
                    undo.callback(journal._clear)
                journal._begin(overwrite, known)
            except OSError as error:
                raise _unwritable(folder, error) from None
            undo.pop_all()
        return journal

    def completed(self) -> frozenset[PairNames]:
        """The pairs (name0, name1) that are done, of images unchanged since, in this order of the two names."""
        return self._finished.union(self._places)

    def append(self, name0: str, name1: str, matches: PairMatches) -> None:
        """Add a pair, by one write(). Raises Stopped when the disk is full, StoreError when it cannot be written;
        ValueError for arrays that matches.h5 may not hold and KeyError for an image that the run does not list."""
        problem = problem_of(list(matches.columns().values()))
        if problem is not None:
            raise ValueError(f"{name0} {name1}: {problem}")
        record = encode(self._stamps[name0], self._stamps[name1], matches)
        try:
            segment, offset = self._end_for(len(record))
            if os.write(self._handle, record) != len(record):  # the disk filled up half way
                os.ftruncate(self._handle, offset)
                os.lseek(self._handle, offset, os.SEEK_SET)
                raise disk_full(str(self.folder))
            self._places[name0, name1] = _Place(segment, offset, len(record))
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._sync()
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def read(self, name0: str, name1: str) -> PairMatches:
        """The matches of a completed pair. Raises KeyError: not completed; StoreError: damaged since."""
        return self._entry(name0, name1, None).matches

    def unlisted(self, pairs: Iterable[PairNames]) -> list[PairNames]:
        """Pairs matched before that are not among `pairs`, either way round: `finish(pairs)` would lose them."""
        listed = set(pairs)
        listed.update([(name1, name0) for name0, name1 in listed])
        known = self._recorded.union(self._places)
        if self._old is not None:
            known.update(self._old.names())
        return sorted(known - listed)

    def finish(self, pairs: Iterable[PairNames]) -> None:
        """Write the output from the completed ones of `pairs`, sorted by key, and remove the journal.

        Raises Stopped: disk full (the journal stays); StoreError: the output cannot be written.
        """
        # Sorted: parts of a list of pairs, merged, shall be the bytes of the whole.
        listed = sorted((pair for pair in pairs if pair in self._places or pair in self._finished), key=key_order)
        with ExitStack() as stack:
            old = stack.enter_context(MatchesFile(self.output)) if not self._places.keys() >= set(listed) else None
            write_matches(
                self.output, self.run.options, (self._entry(*pair, old) for pair in listed), before_rename=stack.close
            )
        self.remove()

    def remove(self) -> None:
        """Delete the journal, release the lock and close; `output` holds everything now, so that nothing can fail."""
        with suppress(OSError):
            self._close_segment()
        with suppress(OSError):
            self._clear()
        self._lock.release(remove=True)
        _remove_folder(self.folder)
        self._places.clear()

    def close(self) -> None:
        """Sync and release the lock; the journal stays, to resume from, unless nothing was ever written to it."""
        if self._lock.held and self._segment is None:
            self.remove()
            return
        try:
            self._close_segment()
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        finally:
            self._lock.release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _begin(self, overwrite: bool, known: Output | None) -> None:
        if overwrite:
            self._clear()
        saved = None if overwrite else load_run(self.folder / "run.json")
        self._fresh = overwrite or (saved is not None and saved.fresh)
        if saved is not None and saved.options != dict(self.run.options) and not self._segments():
            saved, self._fresh = None, False  # nothing was matched with those options: nothing to protect
        if saved is not None:
            require_same(self.folder, saved.options, self.run)
            self._recover()
        else:
            self._clear()  # segments without run.json: a kill while another journal was being removed
        self._old = None if self._fresh else read_output(self.output, known)
        if self._old is not None:
            self._finished = self._old.reusable(self.run)
        if saved is None or set(self.run.images) - set(saved.images):
            save_run(self.folder / "run.json", self.run, self._fresh)

    def _recover(self) -> None:
        """Index all segments, later records over earlier ones, and cut the torn tail of the last."""
        notes = []
        segments = self._segments()
        for segment in segments:
            found = scan(segment)
            for record in found.records:
                names = (record.stamp0.name, record.stamp1.name)
                self._recorded.add(names)
                if all(self._is_current(stamp) for stamp in (record.stamp0, record.stamp1)):
                    self._places[names] = _Place(segment, record.offset, record.length)
            torn = segment.stat().st_size - found.end
            if found.damaged:
                notes.append(f"{segment}: {found.damaged} damaged record(s); astr matches these pairs again")
            if torn:
                notes.append(f"{segment}: its last {torn} bytes are incomplete; astr matches those pairs again")
            if segment is segments[-1]:
                self._open_segment(segment, found.end)  # cuts the torn tail
        self.notes = tuple(notes)

    def _is_current(self, stamp: ImageStamp) -> bool:
        now = self._stamps.get(stamp.name)
        return now is not None and now.is_same(stamp)

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]" * 6 + ".seg"))

    def _end_for(self, length: int) -> tuple[Path, int]:
        """The segment that the next record of `length` bytes goes to, open, and its end there.

        The system says where the end is: an interrupt just after a write() may have left that record uncounted.
        """
        segment = self._segment
        offset = os.lseek(self._handle, 0, os.SEEK_CUR) if segment is not None else 0
        if segment is None or (offset and offset + length > SEGMENT_BYTES):
            self._close_segment()
            segment = self.folder / f"{int(segment.stem) + 1 if segment is not None else 0:06d}.seg"
            self._open_segment(segment, 0)
            sync_folder(self.folder)
            offset = 0
        return segment, offset

    def _open_segment(self, segment: Path, end: int) -> None:
        self._handle = open_own(segment, os.O_RDWR | os.O_CREAT)
        self._segment = segment
        os.ftruncate(self._handle, end)
        os.lseek(self._handle, end, os.SEEK_SET)

    def _close_segment(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _sync(self) -> None:
        os.fsync(self._handle)
        self._synced = time.monotonic()

    def _entry(self, name0: str, name1: str, old: MatchesFile | None) -> MatchEntry:
        stamp0, stamp1 = self._stamps[name0], self._stamps[name1]
        place = self._places.get((name0, name1))
        if place is not None:
            with os.fdopen(open_own(place.segment, os.O_RDONLY), "rb") as file:
                file.seek(place.offset)
                decoded = decode(file.read(place.length))
            if decoded is None:
                raise StoreError(f"{place.segment}: damaged at byte {place.offset}; run the same command again")
            matches = decoded[2]
        elif (name0, name1) not in self._finished:
            raise KeyError((name0, name1))
        elif old is not None:
            matches = old.read(name0, name1)
        else:
            with MatchesFile(self.output) as opened:
                matches = opened.read(name0, name1)
        sizes = (stamp0.width, stamp0.height), (stamp1.width, stamp1.height)
        matched = self.run.matched.get(name0), self.run.matched.get(name1)
        return MatchEntry(name0, name1, *sizes, matches, *matched, stamp0.content, stamp1.content)

    def _clear(self) -> None:
        """Remove the journal's files, run.json first: segments without it count for nothing."""
        run = self.folder / "run.json"
        for path in (run, temporary_path(run), self.folder / "run.json.tmp"):  # the last one: of astr 0.1
            path.unlink(missing_ok=True)
        for segment in self._segments():
            segment.unlink(missing_ok=True)


def _need_place(output: Path) -> None:
    check_output_file(output)
    if output.is_dir():
        raise StoreError(f"{output}: is a folder; --out names the file to write")
    if not output.parent.is_dir():
        raise StoreError(f"{output}: there is no folder {output.parent}; create it first")
    refuse_foreign(output)


def _unwritable(path: Path, error: OSError) -> AstrError:
    if is_full(error):
        return disk_full(str(path))
    return StoreError(f"{path}: cannot be written ({error.strerror or error}); choose another --out")


def _remove_folder(folder: Path) -> None:
    with suppress(OSError):  # the folder holds other files, or the next run has begun
        folder.rmdir()
