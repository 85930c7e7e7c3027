"""`import_matches`: the whole of `astr colmap-import`, from matches.h5 to a verified COLMAP database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from astr_cli.errors import AstrError
from astr_cli.images import catalogue
from astr_cli.sfm.cameras import CameraOptions, image_ids, import_images
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database import check_target, new_database, write_points
from astr_cli.sfm.graph import pair_matches
from astr_cli.sfm.rows import Frame, MatchRows, read_rows
from astr_cli.sfm.tracks import MERGE_RADIUS, Tracks, build_tracks
from astr_cli.sfm.verify import Verified, verify
from astr_cli.store import MatchesFile


@dataclass(frozen=True)
class ImportOptions:
    """The options of `astr colmap-import`."""

    database: Path
    """The database to make; one that holds anything is refused."""
    matches: Path | None = None
    """None: matches.h5 beside the database, else in the working folder."""
    images: Path | None = None
    """None: the root stored in the matches file, from its folder, else from the working folder."""
    cameras: CameraOptions = field(default_factory=CameraOptions)
    min_score: float = 0.0
    """Matches below this are left out."""
    merge_radius: float = MERGE_RADIUS
    """Stars this close in an image, in working pixels, may become one track."""
    replace_ours: bool = False
    """Replace a database that astr wrote."""


@dataclass(frozen=True)
class ImportSummary:
    """What an import wrote."""

    database: Path
    matches: Path
    images_root: Path
    images: int
    cameras: int
    known_focals: int
    """Cameras whose focal length is more than a guess."""
    keypoints: int
    tracks: int
    histogram: tuple[int, ...]
    """Entry n: how many tracks see n images."""
    mean_track: float
    median_track: float
    pairs: int
    """Pairs that were matched."""
    verified: Verified
    warnings: tuple[str, ...]


def import_matches(options: ImportOptions, tell: Callable[[str], None] = lambda line: None) -> ImportSummary:
    """Builds tracks from matches.h5, writes them to a new COLMAP database and verifies it.

    `tell` gets a line before every longer step. Raises AstrError: the database holds something, no or bad matches,
    photos missing or changed, unusable cameras. The database is complete under its name, or not there.
    """
    check_target(options.database, options.replace_ours)
    path = options.matches or _find_matches(options.database)
    with MatchesFile(path) as file:
        rows = read_rows(file, options.min_score)
        root = options.images or _find_root(path, file.attributes.get("images", ""), rows.frames[0].name)
    _check_photos(root, rows.frames, path)
    if not len(rows):
        raise AstrError(f"{path}: holds no match with a score of {options.min_score:g} or more; nothing to import")
    tell(f"{path}: {len(rows.frames)} images, {len(rows.pairs)} pairs, {len(rows)} matches; building tracks")
    tracks = build_tracks(rows, options.merge_radius)
    with new_database(options.database) as part:
        warnings = import_images(part, root, rows.frames, options.cameras)
        cameras, known = _write(part, root, rows, tracks)
        tell(f"verifying {len(rows.pairs)} pairs")
        verified = verify(part)
    return _summary(options, path, root, rows, tracks, (cameras, known), verified, warnings)


def _write(part: Path, root: Path, rows: MatchRows, tracks: Tracks) -> tuple[int, int]:
    """Keypoints and matches; returns how many cameras there are, and with a known focal length."""
    with closing(pycolmap.Database.open(part)) as database:
        ids = image_ids(database, root, rows.frames)
        cameras = database.read_all_cameras()
    keypoints = [tracks.of_image(image) for image in range(len(rows.frames))]
    write_points(part, ids, keypoints, rows.pairs, pair_matches(tracks, rows))
    return len(cameras), sum(camera.has_prior_focal_length for camera in cameras)


def _find_matches(database: Path) -> Path:
    beside = database.parent / "matches.h5"
    here = Path("matches.h5")
    for path in (beside, here):
        if path.is_file():
            return path
    where = f"neither {beside} nor {here} exists" if beside != here else "there is no matches.h5 here"
    raise AstrError(f"{database}: {where}; name the matches file with --matches")


def _find_root(matches: Path, stored: str, first: str) -> Path:
    """The image root: the stored one as seen from the matches file, else from the working folder."""
    candidates = dict.fromkeys([(matches.parent.resolve() / stored).resolve(), Path(stored).resolve()])
    found = next((root for root in candidates if (root / first).is_file()), None)
    if found is None:
        tried = " or ".join(map(str, candidates))
        raise AstrError(f"{matches}: {first} is not in {tried}; name the folder of the photos with --images")
    here = Path.cwd()
    return found.relative_to(here) if found.is_relative_to(here) else found


def _check_photos(root: Path, frames: Sequence[Frame], matches: Path) -> None:
    """Raises AstrError unless every photo is there, with the size it was matched at."""
    found = catalogue(root, (frame.name for frame in frames))
    if found.errors:
        more = f" ({len(found.errors) - 1} more bad images)" if len(found.errors) > 1 else ""
        raise AstrError(f"{matches}: {next(iter(found.errors.values()))}{more}")
    for frame in frames:
        size = found.infos[frame.name].size
        if size != frame.size:
            raise AstrError(
                f"{root / frame.name}: is {size[0]}x{size[1]}, but was matched as {frame.size[0]}x{frame.size[1]}; "
                "match it again"
            )


def _summary(
    options: ImportOptions,
    matches: Path,
    root: Path,
    rows: MatchRows,
    tracks: Tracks,
    cameras: tuple[int, int],
    verified: Verified,
    warnings: Sequence[str],
) -> ImportSummary:
    lengths = tracks.lengths
    notes = list(warnings)
    if np.median(lengths) <= 2:
        notes.append(
            "at least half of the tracks see two images only; more pairs, or photos taken closer to each other, help"
        )
    if options.cameras == CameraOptions() and not cameras[1] and len({frame.size for frame in rows.frames}) == 1:
        notes.append(
            "no photo tells its focal length, so each got a camera of its own; if one camera took them all, "
            "--camera-mode single gives a better model"
        )
    if not verified.pairs:
        notes.append("no pair passed geometric verification: nothing can be mapped")
    return ImportSummary(
        database=options.database,
        matches=matches,
        images_root=root,
        images=len(rows.frames),
        cameras=cameras[0],
        known_focals=cameras[1],
        keypoints=len(tracks.image),
        tracks=len(lengths),
        histogram=tuple(np.bincount(lengths).tolist()),
        mean_track=float(lengths.mean()),
        median_track=float(np.median(lengths)),
        pairs=len(rows.pairs),
        verified=verified,
        warnings=tuple(notes),
    )
