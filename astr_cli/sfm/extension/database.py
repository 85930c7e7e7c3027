"""New photos, keypoints, matches and geometries into a copy of a database; what it holds keeps its numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astr_cli.matching.resources.signals import StopFlag
from astr_cli.sfm.database.atomic import is_resumed, new_database, read_only
from astr_cli.sfm.database.cameras import HeldPhoto, import_images
from astr_cli.sfm.database.contents import Existing as Contents
from astr_cli.sfm.database.inputs import content_hash, find_matched_masks
from astr_cli.sfm.database.keypoints import extend_points
from astr_cli.sfm.database.pair_ids import pair_id
from astr_cli.sfm.database.verification import verify
from astr_cli.sfm.extension.folder import Reconstruction
from astr_cli.sfm.extension.new_photos import Photos
from astr_cli.sfm.extension.snapping import UNKNOWN, Existing, placed, renumbered, snap
from astr_cli.sfm.tracks.build import Tracks, build_tracks
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.sfm.tracks.pair_matches import pair_matches
from astr_cli.sfm.tracks.refinement import KeptSteps, PhotoPixels, TrackRefiner
from astr_cli.store.joining import join_files
from astr_cli.wording import counted


class Start(NamedTuple):
    """What an extension begins with."""

    done: Reconstruction
    photos: Photos
    existing: Contents
    points: Mapping[str, NDArray[np.float32]]
    """The keypoints of photos that have some, by name, (K, 2) pixels, the centre of the top-left one at (0, 0)."""
    tell: Callable[[str], None]
    stop: StopFlag


class Additions(NamedTuple):
    """What new matches add to a database."""

    keypoints: dict[str, NDArray[np.float32]]
    """By photo, (K, 2) pixels, the centre of the top-left one at (0, 0), after those that it has."""
    matches: dict[tuple[str, str], NDArray[np.uint32]]
    """By pair, (M, 2) numbers of keypoints."""


def additions(start: Start, model: Any, matches: Path) -> Additions:
    """Joins the matches of new pairs to tracks, and those to the keypoints that there are, by the points of the model.

    Raises StoreError.
    """
    existing = _existing(start, model)
    wanted = start.done.options.tracks
    with closing(StoredRows(join_files((matches,)), wanted.min_score, wanted.max_sigma)) as rows:
        tracks = build_tracks(rows, wanted.merge_radius)
        start.stop.check()
        snapped = snap(tracks, rows.images, existing, wanted.merge_radius)
        if start.existing.notes.get("refine", "off") != "off":
            tracks = placed(tracks, rows.images, existing, snapped)
            tracks = _refined(start, rows, tracks, snapped.existing, matches)
            snapped = snap(tracks, rows.images, existing, 0)
        names, found = [image.name for image in rows.images], {}
        for (a, b), part in zip(rows.pairs, pair_matches(tracks, rows), strict=True):
            ends = [slice(*tracks.offsets[image : image + 2]) for image in (a, b)]
            found[names[a], names[b]] = renumbered(part, ends, snapped)
        return Additions(dict(zip(names, snapped.added, strict=True)), found)


def _existing(start: Start, model: Any) -> dict[str, Existing]:
    """The keypoints of the photos, with the points of the model."""
    found = {name: Existing(xy, np.full(len(xy), UNKNOWN, np.int64)) for name, xy in start.points.items()}
    for image in model.images.values():
        for number in image.get_observation_point2D_idxs():
            found[image.name].points[number] = image.point2D(number).point3D_id
    return found


def _refined(start: Start, rows: StoredRows, tracks: Tracks, fixed: NDArray[np.bool_], matches: Path) -> Tracks:
    """The tracks aligned on the original pixels, as those of the reconstruction were, but for `fixed` keypoints."""
    options = start.done.options
    masks, warning = find_matched_masks(matches, rows.attributes)
    if warning is not None:
        start.tell(warning)
    pixels = PhotoPixels(options.photos, rows.images, masks)
    key = f"{content_hash(start.done.database)} {content_hash(matches)}"
    kept = KeptSteps(matches.with_name("refinement"), key)
    refiner = TrackRefiner(rows.images, pixels, options.refinement.refine_rule, os.cpu_count() or 1)
    return refiner.refine(tracks, kept, start.tell, start.stop, fixed).tracks


def extend_database(start: Start, added: Additions, made: Path, key: str) -> list[str]:
    """Writes `made`, a copy of the database with more, and verifies the new pairs; returns warnings.

    key: names the matches. Raises Interrupted, Stopped: disk full; a later call with the same key resumes the
    verification.
    """
    warnings: list[str] = []
    database, photos = start.done.database, start.photos
    key = f"{content_hash(database)} {key}"
    with new_database(made, database, key) as part:
        if not is_resumed(part, key):
            images = start.existing.images
            held = {name: HeldPhoto(info, images[name].camera) for name, info in photos.held.items()}
            warnings = import_images(part, photos.new, start.done.options.cameras, held)
        numbers = _numbers(part)
        matches = {(numbers[a], numbers[b]): rows for (a, b), rows in added.matches.items()}
        if not is_resumed(part, key):
            extend_points(part, {numbers[name]: more for name, more in added.keypoints.items()}, matches, key)
        start.stop.check()
        start.tell(f"verifying {counted(len(matches), 'new pair')}")
        verify(part, {pair_id(*pair) for pair in matches}, None, start.tell, start.stop)
    return warnings


def _numbers(database: Path) -> dict[str, int]:
    """COLMAP's numbers of all images, by name."""
    with closing(read_only(database)) as connection:
        return dict(connection.execute("SELECT name, image_id FROM images"))
