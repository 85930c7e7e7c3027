"""`import_matches`: the whole of `astr colmap-import`, from matches.h5 to a verified COLMAP database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.database import CameraOptions, ImportOptions
from astr_cli.refine.rules import Summary
from astr_cli.sfm.database.atomic import check_target, examine
from astr_cli.sfm.database.cameras import Held, held_by
from astr_cli.sfm.database.contents import NOTHING, read_existing
from astr_cli.sfm.database.difference import (
    Difference,
    check_kept,
    choose_mode,
)
from astr_cli.sfm.database.import_steps import ImportOutcome, ImportSteps
from astr_cli.sfm.database.inputs import (
    check_photos,
    find_matches,
    find_root,
)
from astr_cli.sfm.database.sharing import check_camera_options
from astr_cli.sfm.database.verification import Verified
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.store.joining import join_files


@dataclass(frozen=True)
class ImportSummary:
    """The result of an import."""

    database: Path
    matches: Path
    images_root: Path
    images: int
    """Images in the matches file."""
    images_held: int
    """All in the database."""
    cameras: int
    """Likewise."""
    known_focals: int
    """Of these, those whose focal length is more than a guess."""
    keypoints: int
    """Ours."""
    keypoints_held: int
    """All in the database."""
    tracks: int
    """Ours."""
    histogram: tuple[int, ...]
    """Entry n: how many tracks see n images."""
    mean_track: float
    median_track: float
    pairs: int
    """Pairs that were matched."""
    verified: Verified
    warnings: tuple[str, ...]
    difference: Difference
    changed: bool
    """Whether anything was written."""
    backup: Path | None
    """The backup of the old database."""
    posed: Path | None
    """A model with the known poses and the numbers of the database, to triangulate from."""
    refinement: Summary | None
    """What refinement did; None: off, or done by an earlier import."""

    @property
    def two_view_share(self) -> float:
        """Share of the tracks that span only two images; COLMAP makes no point from them by default."""
        return sum(self.histogram[:3]) / max(1, self.tracks)


def import_matches(
    options: ImportOptions, tell: Callable[[str], None] = lambda line: None, stop: StopFlag | None = None
) -> ImportSummary:
    """Builds tracks from matches.h5, writes them to a COLMAP database and verifies its pairs.

    Data of other origin stays as it is, with its numbers. `tell` gets a line before and during every longer step;
    `stop` is looked at between them. The database is complete under its name, or as it was before.

    Raises Interrupted, or AstrError: a database that does not fit `options.mode`, has pairs of an earlier import that
    the matches lack, or is damaged; no or bad matches, photos missing or changed, unusable cameras or poses.
    """
    check_camera_options(options.cameras)
    target = examine(options.database)
    if options.replace_ours:
        check_target(options.database, replace_ours=True)
    paths = options.matches or (find_matches(options.database),)
    path = paths[0]
    least, most = options.tracks.min_score, options.tracks.max_sigma
    with closing(StoredRows(join_files(paths), least, most)) as rows:
        root = options.images or find_root(path, rows.attributes.get("images", ""), rows.images[0].name)
        infos = check_photos(root, rows.images, path)
        existing = read_existing(options.database) if target.tables else NOTHING
        wish = "create" if options.replace_ours else options.mode
        mode = choose_mode(options.database, wish, target, existing, rows.images)
        if mode == "append" and not options.replace_import:
            names = [matched.name for matched in rows.images]
            check_kept(options.database, path, existing, [(names[a], names[b]) for a, b in rows.pairs])
        outcome = ImportSteps(options, paths, root, infos, rows, mode, target, existing, tell, stop or StopFlag()).run()
    return _summary(options, path, root, rows, outcome)


def _summary(
    options: ImportOptions, matches: Path, root: Path, rows: StoredRows, outcome: ImportOutcome
) -> ImportSummary:
    tracks, notes = outcome.statistics, list(outcome.warnings)
    held = held_by(options.database) if not options.dry_run else Held(0, 0, 0, 0)
    if tracks.median <= 2:
        notes.append(
            "at least half of the tracks span only two images; match more pairs, or take photos closer to each other"
        )
    sizes = {matched.size for matched in rows.images}
    guessed = options.cameras == CameraOptions() and options.poses is None and held.cameras and not held.known_focals
    if outcome.difference.mode == "create" and guessed and len(sizes) == 1:
        anew = "" if options.replace_ours else "--mode create "  # an existing database keeps its cameras
        notes.append(
            "no photo has a focal length in its EXIF, so each photo got its own camera; if one camera took them all, "
            f"run the same command with {anew}--camera-mode single for a better model"
        )
    if options.verify and not options.dry_run and not outcome.verified.pairs:
        notes.append("no pair passed geometric verification, so nothing can be mapped; match pairs with more overlap")
    return ImportSummary(
        database=options.database,
        matches=matches,
        images_root=root,
        images=len(rows.images),
        images_held=held.images,
        cameras=held.cameras,
        known_focals=held.known_focals,
        keypoints_held=held.keypoints,
        keypoints=tracks.keypoints,
        tracks=tracks.tracks,
        histogram=tracks.histogram,
        mean_track=tracks.mean,
        median_track=tracks.median,
        pairs=len(rows.pairs),
        verified=outcome.verified,
        warnings=tuple(notes),
        difference=outcome.difference,
        changed=outcome.changed,
        backup=outcome.backup,
        posed=outcome.posed,
        refinement=outcome.refinement,
    )
