"""`extend`: the whole of `astr extend`, from new photos in a folder to a model that has them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from astr_cli.errors import AstrError
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.matching.run.events import Listener, MatchSummary
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.extend import ExtendOptions
from astr_cli.options.matching import MatchOptions
from astr_cli.options.option import take
from astr_cli.pairs.writing import pairs_text, write_pairs
from astr_cli.sfm.colmap import read_model
from astr_cli.sfm.database.atomic import check_target
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.database.inputs import content_hash
from astr_cli.sfm.database.keypoints import read_points
from astr_cli.sfm.extension.database import Start, additions, extend_database
from astr_cli.sfm.extension.folder import read_options, read_reconstruction
from astr_cli.sfm.extension.growing import check_model
from astr_cli.sfm.extension.models import Extended, extend_models
from astr_cli.sfm.extension.new_photos import NewPairs, find_photos, new_pairs
from astr_cli.sfm.extension.record import extended_text
from astr_cli.sfm.extension.state import clear, move_in, set_ready, work_folder
from astr_cli.sfm.mapping.unregistered import Unregistered
from astr_cli.sfm.pairs.automatic import HEAD
from astr_cli.sfm.reconstruct import LOCK
from astr_cli.store.lock import Lock
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.merging import merge_files

JOINED = ".extended.h5"  # in OUT, as a matches file stores the folder of the photos as seen from its own


class ExtendSummary(NamedTuple):
    """The result of an extension."""

    out: Path
    new: tuple[str, ...]
    """Photos, by name."""
    pairs: int
    """New ones."""
    matching: MatchSummary | None
    """None: there was no new photo."""
    extended: Extended | None
    warnings: tuple[str, ...] = ()
    report: bool = False
    """Whether the reconstruction has a report to renew."""

    @property
    def missing(self) -> tuple[Unregistered, ...]:
        """New photos without a pose."""
        found = () if self.extended is None else self.extended.summary.unregistered
        return tuple(photo for photo in found if photo.name in self.new)


def extend(options: ExtendOptions, listener: Listener, tell: Callable[[str], None], stop: StopFlag) -> ExtendSummary:
    """Adds new photos to a finished reconstruction: their pairs, matches, keypoints, geometries, poses and points.

    What is there keeps its numbers and its places; with `readjust`, all is adjusted at the end. The folder stays as it
    is until all of it is made. Raises AstrError: no finished reconstruction, unusable photos, no pairs, or as
    `match_pairs` does; Interrupted when `stop` is set. The same call resumes.
    """
    run = read_options(options.out)
    try:
        lock = Lock(options.out / LOCK, options.out)
    except OSError as error:
        raise AstrError(f"{options.out}: cannot be written ({error.strerror}); allow writing there") from None
    try:
        if move_in(options.out, run.sparse):
            tell(f"{options.out}: an extension that was stopped at its end is complete now")
        done = read_reconstruction(run)
        check_target(done.database, replace_ours=True)
        existing = read_existing(done.database)
        photos = find_photos(run, options.new_photos, existing.images)
        if not photos.new:
            clear(options.out)
            return ExtendSummary(options.out, (), 0, None, None)
        start = Start(done, photos, existing, read_points(done.database), tell, stop)
        return _steps(options, start, listener)
    finally:
        lock.release(remove=True)


def _steps(options: ExtendOptions, start: Start, listener: Listener) -> ExtendSummary:
    done, run = start.done, start.done.options
    model = read_model(done.model.folder)
    check_model(model, start.points, done.model.folder)
    with MatchesFile(done.matches) as file:
        matched = {frozenset(pair[:2]) for pair in file.pairs()}
    pairs = new_pairs(run, start.photos, matched, start.tell)
    work = work_folder(options.out)
    listed, matches = work / "pairs.txt", work / "matches.h5"
    write_pairs(listed, pairs.pairs, overwrite=True)
    wanted = take(
        MatchOptions, run.matching, pairs=listed, out=matches, images=run.photos, skip_bad=run.skip_bad, prune=True
    )
    found = match_pairs(wanted, listener)
    start.stop.check()
    made = work / "made"
    shutil.rmtree(made, ignore_errors=True)
    (made / "sparse").mkdir(parents=True)
    added = additions(start, model, matches)
    warnings = extend_database(start, added, work / "database.db", content_hash(matches))
    start.stop.check()
    extended = extend_models(start, added, model, work / "database.db", made / "sparse", options.readjust)
    start.stop.check()
    (work / "database.db").replace(made / "database.db")
    joined = options.out / JOINED
    merge_files(joined, (done.matches, matches), overwrite=True, check=start.stop.check)
    joined.replace(made / "matches.h5")
    _write_lists(start, pairs, extended, made)
    set_ready(options.out, made)
    move_in(options.out, run.sparse)
    new = tuple(start.photos.new)
    return ExtendSummary(options.out, new, len(pairs.pairs), found, extended, tuple(warnings), run.report)


def _write_lists(start: Start, pairs: NewPairs, extended: Extended, made: Path) -> None:
    """pairs.txt, unless it is the user's own, and summary.json."""
    listed = start.done.options.out / "pairs.txt"
    text = listed.read_text(encoding="utf-8")
    if text.startswith(HEAD):
        photos = len(start.photos.held) + len(start.photos.new)
        head = f"{HEAD}{pairs.method} pairs of {photos} photos, extended\n"
        (made / "pairs.txt").write_text(head + text.partition("\n")[2] + pairs_text(pairs.pairs), encoding="utf-8")
    record = extended_text(start.done.record, extended, len(pairs.pairs), made / "database.db")
    (made / "summary.json").write_text(record, encoding="utf-8")
