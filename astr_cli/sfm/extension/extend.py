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
from astr_cli.sfm.database.contents import read_existing
from astr_cli.sfm.database.inputs import content_hash
from astr_cli.sfm.database.keypoints import read_points
from astr_cli.sfm.extension.database import Start, additions, extend_database
from astr_cli.sfm.extension.growing import check_model
from astr_cli.sfm.extension.models import Extended, extend_models
from astr_cli.sfm.extension.new_photos import NewPairs, failed_pairs, find_photos, new_pairs
from astr_cli.sfm.extension.record import extended_text
from astr_cli.sfm.extension.state import JOINED, clear, move_in, set_ready, taken, work_folder
from astr_cli.sfm.mapping.unregistered import Unregistered
from astr_cli.sfm.pairs.automatic import HEAD
from astr_cli.sfm.reconstruction.folder import SUMMARY
from astr_cli.store.matches_file import MatchesFile
from astr_cli.store.merging import merge_files


class ExtendSummary(NamedTuple):
    """The result of an extension."""

    out: Path
    new: tuple[str, ...]
    """Photos, by name."""
    pairs: int
    """New ones."""
    again: int
    """Pairs that failed earlier."""
    matching: MatchSummary | None
    """None: there was nothing to match."""
    extended: Extended | None
    warnings: tuple[str, ...] = ()
    report: bool = False
    """Whether the reconstruction has a report to renew."""

    @property
    def missing(self) -> tuple[Unregistered, ...]:
        """New photos without a pose."""
        found = () if self.extended is None else self.extended.summary.unregistered
        return tuple(photo for photo in found if photo.name in self.new)


def extend(
    options: ExtendOptions, new_photos: Path, listener: Listener, tell: Callable[[str], None], stop: StopFlag
) -> ExtendSummary:
    """Adds new photos to a finished reconstruction: their pairs, matches, keypoints, geometries, poses and points.

    What is there keeps its numbers and its places; with `readjust`, all is adjusted at the end. Pairs that failed
    earlier are tried again. The folder stays as it is until all of it is made. Raises AstrError: no finished
    reconstruction, unusable photos, no pairs, or as `match_pairs` does; Interrupted when `stop` is set. The same call
    resumes.
    """
    with taken(options.out, tell) as (done, _):
        existing = read_existing(done.database)
        photos = find_photos(done.options, new_photos, existing.images)
        again = failed_pairs(done, existing.images)
        if not (photos.new or again):
            clear(options.out)
            return ExtendSummary(options.out, (), 0, 0, None, None)
        if photos.new and done.options.cameras.rig_config is not None:
            raise AstrError(f"{options.out}: has rigs, which astr extend cannot fill; run astr reconstruct again")
        start = Start(done, photos, existing, read_points(done.database), tell, stop)
        return _steps(options, start, again, listener)


def _steps(options: ExtendOptions, start: Start, again: list[tuple[str, str]], listener: Listener) -> ExtendSummary:
    done, run = start.done, start.done.options
    model = read_model(done.model.folder)
    check_model(model, start.points, done.model.folder)
    with MatchesFile(done.matches) as file:
        matched = {frozenset(pair[:2]) for pair in file.pairs()}
    pairs = new_pairs(run, start.photos, matched, start.tell) if start.photos.new else NewPairs("", [])
    work = work_folder(options.out)
    listed, matches = work / "pairs.txt", work / "matches.h5"
    write_pairs(listed, [*again, *pairs.pairs], overwrite=True)
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
    return ExtendSummary(options.out, new, len(pairs.pairs), len(again), found, extended, tuple(warnings), run.report)


def _write_lists(start: Start, pairs: NewPairs, extended: Extended, made: Path) -> None:
    """pairs.txt, unless it is the user's own, and summary.json."""
    listed = start.done.options.out / "pairs.txt"
    text = listed.read_text(encoding="utf-8")
    if text.startswith(HEAD) and pairs.pairs:
        photos = len(start.photos.held) + len(start.photos.new)
        head = f"{HEAD}{pairs.method} pairs of {photos} photos, extended\n"
        (made / "pairs.txt").write_text(head + text.partition("\n")[2] + pairs_text(pairs.pairs), encoding="utf-8")
    record = extended_text(start.done.record, extended, len(pairs.pairs), made / "database.db")
    (made / SUMMARY).write_text(record, encoding="utf-8")
