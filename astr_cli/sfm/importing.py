"""`import_matches`: the whole of `astr colmap-import`, from matches.h5 to a verified COLMAP database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from astr_cli.sfm.cameras import CameraOptions, Held, held_by
from astr_cli.sfm.database import check_target, examine
from astr_cli.sfm.difference import Difference, choose_mode
from astr_cli.sfm.existing import NOTHING, read_existing
from astr_cli.sfm.import_work import Outcome, Work
from astr_cli.sfm.rows import StoredRows
from astr_cli.sfm.sources import check_photos, find_matches, find_root
from astr_cli.sfm.tracks import MERGE_RADIUS
from astr_cli.sfm.verify import Verified
from astr_cli.store import MatchesFile


@dataclass(frozen=True)
class ImportOptions:
    """The options of `astr colmap-import`."""

    database: Path
    """The database to make or to add to."""
    matches: Path | None = None
    """None: matches.h5 beside the database, else in the working folder."""
    images: Path | None = None
    """None: the root stored in the matches file, from its folder, else from the working folder."""
    cameras: CameraOptions = field(default_factory=CameraOptions)
    """For images that the database does not have; the cameras of the others are kept."""
    min_score: float = 0.0
    """Matches below this are left out."""
    merge_radius: float = MERGE_RADIUS
    """Stars this close in an image, in working pixels, may become one track."""
    max_keypoints: int | None = None
    """Keep this many of an image's keypoints, spread over it; None: all."""
    min_track: int = 2
    """Leave out tracks that see fewer images."""
    mode: str | None = None
    """One of difference.MODES; None: create where there is no database, append to one that has all of the images."""
    verify: bool = True
    """Whether the pairs get two-view geometries."""
    poses: Path | None = None
    """A COLMAP model folder with known poses to verify by."""
    dry_run: bool = False
    """Only tell the difference."""
    backup: bool = True
    """Whether a database that holds something is kept beside the new one."""
    replace_ours: bool = False
    """Replace a database that astr wrote, without a backup; refuse any other that holds something."""


@dataclass(frozen=True)
class ImportSummary:
    """What an import wrote."""

    database: Path
    matches: Path
    images_root: Path
    images: int
    """Those that were matched."""
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
    """The database as it was before."""
    posed: Path | None
    """A model with the known poses and the numbers of the database, to triangulate from."""

    @property
    def two_view_share(self) -> float:
        """Share of the tracks that see two images only; COLMAP makes no point of them by default."""
        return sum(self.histogram[:3]) / max(1, self.tracks)


def import_matches(options: ImportOptions, tell: Callable[[str], None] = lambda line: None) -> ImportSummary:
    """Builds tracks from matches.h5, writes them to a COLMAP database and verifies its pairs.

    What others wrote there stays as it is, with its numbers. `tell` gets a line before every longer step and in it.
    Raises AstrError: a database that does not fit `options.mode` or is damaged, no or bad matches, photos missing or
    changed, unusable cameras or poses. The database is complete under its name, or what it was.
    """
    target = examine(options.database)
    if options.replace_ours:
        check_target(options.database, replace_ours=True)
    path = options.matches or find_matches(options.database)
    with MatchesFile(path) as file, closing(StoredRows(file, options.min_score)) as rows:
        root = options.images or find_root(path, file.attributes.get("images", ""), rows.frames[0].name)
        check_photos(root, rows.frames, path)
        existing = read_existing(options.database) if target.tables else NOTHING
        wish = "create" if options.replace_ours else options.mode
        mode = choose_mode(options.database, wish, target, existing, rows.frames)
        outcome = Work(options, path, root, rows, mode, existing, tell).run()
    return _summary(options, path, root, rows, outcome)


def _summary(options: ImportOptions, matches: Path, root: Path, rows: StoredRows, outcome: Outcome) -> ImportSummary:
    tracks, notes = outcome.statistics, list(outcome.warnings)
    held = held_by(options.database) if not options.dry_run else Held(0, 0, 0, 0)
    if tracks.median <= 2:
        notes.append(
            "at least half of the tracks see two images only; more pairs, or photos taken closer to each other, help"
        )
    sizes = {frame.size for frame in rows.frames}
    guessed = options.cameras == CameraOptions() and options.poses is None and held.cameras and not held.known_focals
    if outcome.difference.mode == "create" and guessed and len(sizes) == 1:
        anew = "" if options.replace_ours else "--mode create "  # on a database that is there, cameras are kept
        notes.append(
            "no photo tells its focal length, so each got a camera of its own; if one camera took them all, the same "
            f"command with {anew}--camera-mode single gives a better model"
        )
    if options.verify and not options.dry_run and not outcome.verified.pairs:
        notes.append("no pair passed geometric verification: nothing can be mapped")
    return ImportSummary(
        database=options.database,
        matches=matches,
        images_root=root,
        images=len(rows.frames),
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
    )
