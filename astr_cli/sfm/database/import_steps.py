"""The steps of one import: what is missing in a database, and how it gets there."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from astr_cli.errors import AstrError
from astr_cli.images.info import ImageInfo
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.database import CameraOptions, ImportOptions, TrackOptions
from astr_cli.options.option import declared
from astr_cli.refine.rules import Summary
from astr_cli.sfm.database.atomic import Target, backup_name, is_resumed, new_database
from astr_cli.sfm.database.cameras import image_ids, import_images
from astr_cli.sfm.database.contents import NOTHING, Existing
from astr_cli.sfm.database.difference import (
    Difference,
    difference,
    other_folder,
    unchanged,
)
from astr_cli.sfm.database.inputs import (
    content_hash,
    contents_hash,
    find_matched_masks,
    folder_hash,
)
from astr_cli.sfm.database.keypoints import clear_geometries, write_notes, write_points
from astr_cli.sfm.database.known_poses import KnownPoses, cameras_of, write_model
from astr_cli.sfm.database.locked import copy_database
from astr_cli.sfm.database.pair_ids import pair_id
from astr_cli.sfm.database.sharing import share_cameras
from astr_cli.sfm.database.verification import Verified, count_verified, verify
from astr_cli.sfm.tracks.build import Tracks, build_tracks
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.sfm.tracks.pair_matches import PairLists, pair_matches
from astr_cli.sfm.tracks.refinement import (
    KeptSteps,
    PhotoPixels,
    Refinement,
    TrackRefiner,
    largest_error,
    worth_refining,
)
from astr_cli.sfm.tracks.statistics import TrackStatistics, statistics_of
from astr_cli.sfm.tracks.thinning import thin_tracks
from astr_cli.wording import counted

SHARING = "2"  # of the rules by which photos share a camera; 1 gave photos of unnamed cameras one each
ABSENT = {"refine": "off", "max_sigma": "None", "rigs": "off"}  # what it means that an older database lacks a note
SHOWN = 5  # images that a warning names


class ImportOutcome(NamedTuple):
    """The outcome of an import."""

    statistics: TrackStatistics
    difference: Difference
    verified: Verified
    warnings: tuple[str, ...] = ()
    changed: bool = False
    backup: Path | None = None
    posed: Path | None = None
    refinement: Summary | None = None


class ImportSteps:
    """One import. `run` does it."""

    def __init__(
        self,
        options: ImportOptions,
        matches: Sequence[Path],
        root: Path,
        infos: Mapping[str, ImageInfo],
        rows: StoredRows,
        mode: str,
        target: Target,
        existing: Existing,
        tell: Callable[[str], None],
        stop: StopFlag,
    ) -> None:
        """mode: create, append or replace. Raises KnownPosesError: `options.poses` cannot be used."""
        self.options, self.matches, self.root, self.infos, self.rows = options, matches[0], root, infos, rows
        self.mode, self.target, self.existing = mode, target, existing
        self.tell, self.stop = tell, stop
        self.poses = KnownPoses(options.poses, [matched.name for matched in rows.images]) if options.poses else None
        self.cameras = options.cameras
        if options.poses is not None and self.cameras.known is None:
            self.cameras = replace(self.cameras, cameras=str(options.poses))
        self.identity = {
            "format": "1",
            "matches": contents_hash(matches),
            **{each.field: repr(getattr(options.tracks, each.field)) for each in declared(TrackOptions)},
            "refine": self._refine_text(),
            "rigs": _rigs_text(options.cameras),
        }
        self.verification = f"poses {folder_hash(options.poses)}" if options.poses else "ransac"

    def _refine_text(self) -> str:
        wanted = self.options.refinement
        refine = wanted.refine or ("tracks" if worth_refining(self.rows.images) else "off")
        return refine if refine == "off" else f"{refine} {wanted.refine_rule}"

    @property
    def _sharing(self) -> str:
        """Text that identifies how a new database gets its cameras."""
        mode, model, params = self.cameras.mode, self.cameras.model, self.cameras.params
        # The text that databases have held from the beginning.
        return f"{SHARING} CameraOptions({mode=!r}, {model=!r}, {params=!r}, known={self.cameras.known!r})"

    def run(self) -> ImportOutcome:
        """Writes the missing data, if any."""
        done = self._done()
        outcome = self._write() if done is None else self._complete(done)
        if self.options.dry_run:
            return outcome
        verified = count_verified(self.options.database, self._pairs(self.options.database))
        return outcome._replace(verified=verified, warnings=(*outcome.warnings, *self._warnings()))

    def _done(self) -> TrackStatistics | None:
        """The figures of an earlier import of the same data, if it is still complete; else None."""
        existing, notes = self.existing, self.existing.notes
        statistics = TrackStatistics.parse(notes.get("statistics", ""))
        names = {matched.name for matched in self.rows.images}
        whole = (
            statistics is not None
            and all(notes.get(name, ABSENT.get(name)) == value for name, value in self.identity.items())
            and names <= existing.images.keys()
            and sum(points.ours for points in existing.points.values()) == statistics.keypoints
            and existing.matches - existing.foreign == statistics.matches
        )
        if self.mode == "create":
            alone = not existing.foreign and names == existing.images.keys()
            whole = whole and alone and notes.get("cameras") == self._sharing
        if self.mode == "replace":
            whole = whole and not existing.foreign and existing.geometries <= existing.pairs
        return statistics if whole else None

    def _complete(self, statistics: TrackStatistics) -> ImportOutcome:
        """Verifies the pairs not yet verified, or verified in another way."""
        database = self.options.database
        numbers = [self.existing.images[matched.name].number for matched in self.rows.images]
        pairs = {pair_id(numbers[a], numbers[b]) for a, b in self.rows.pairs} & self.existing.pairs
        verified_by = self.existing.notes.get("verified", "")
        missing = pairs if verified_by not in ("", self.verification) else pairs - self.existing.geometries
        if not self.options.verify:
            missing = set()
        outcome = ImportOutcome(statistics, unchanged(self.mode, self.existing, len(missing)), Verified(0, 0))
        if self.options.dry_run:
            return outcome
        self._kept_steps().remove()  # of a run that was killed just after the database took its name
        if not missing:
            return outcome._replace(posed=self._keep_poses())
        backup = backup_name(database) if self.options.backup and not self.options.replace_ours else None
        key = self._key()
        with new_database(database, database, key, backup is not None, self.target) as part:
            if not is_resumed(part, key):
                clear_geometries(part, missing)
                write_notes(part, {"verified": self.verification}, key)
            model = self._verify(part, pairs)
        return outcome._replace(changed=True, backup=backup, posed=self._write_poses(model))

    def _write(self) -> ImportOutcome:
        options, database = self.options, self.options.database
        existing = NOTHING if self.mode == "create" else self.existing
        if existing.images and self.cameras.rig_config is not None:
            raise AstrError(f"{database}: rigs need a new database; use --mode create, or leave out --rig-config")
        share_cameras(self._added(existing.images), self.cameras)  # refuses what the end would refuse
        self.tell(
            f"{self.matches}: {counted(len(self.rows.images), 'image')}, {counted(len(self.rows.pairs), 'pair')}; "
            "building tracks"
        )
        tracks = build_tracks(self.rows, options.tracks.merge_radius)
        self.stop.check()
        if not len(tracks.of_row):
            raise AstrError(
                f"{self.matches}: no match has {options.tracks.bounds}; {options.tracks.remedy} or match again"
            )
        tracks = thin_tracks(tracks, self.rows.images, options.tracks.max_keypoints, options.tracks.min_track)
        if not len(tracks.image):
            raise AstrError(
                f"{self.matches}: no track spans {options.tracks.min_track} images; use a smaller --min-track"
            )
        kept = None if options.dry_run or self.identity["refine"] == "off" else self._kept_steps()
        refined = None if kept is None else self._refine(tracks, kept)
        tracks = tracks if refined is None else refined.tracks
        lists = pair_matches(tracks, self.rows)
        change = difference(self.mode, existing, self.rows.images, len(tracks.image), self.rows.pairs, lists.counts())
        losing = _losing_warnings(self.matches, change)
        outcome = ImportOutcome(statistics_of(tracks, change.matches_added), change, Verified(0, 0), losing)
        if options.dry_run:
            return outcome
        keep = options.backup and not options.replace_ours and database.exists() and database.stat().st_size
        backup = backup_name(database) if keep else None
        key, start = self._key(), database if self.mode != "create" else None
        warnings = list(losing)
        with new_database(database, start, key, backup is not None, self.target) as part:
            if not is_resumed(part, key):
                warnings += self._fill(part, tracks, lists, outcome.statistics, key)
            self.stop.check()
            model = self._verify(part, self._pairs(part)) if options.verify else self._model(part)
        if kept is not None:
            kept.remove()
        return outcome._replace(
            warnings=tuple(warnings),
            changed=True,
            backup=backup,
            posed=self._write_poses(model),
            refinement=None if refined is None else refined.summary,
        )

    def _kept_steps(self) -> KeptSteps:
        database = self.options.database
        return KeptSteps(database.with_name(f"{database.name}.refinement"), repr(sorted(self.identity.items())))

    def _refine(self, tracks: Tracks, kept: KeptSteps) -> Refinement:
        masks, warning = find_matched_masks(self.matches, self.rows.attributes)
        if warning is not None:
            self.tell(warning)
        pixels = PhotoPixels(self.root, self.rows.images, masks)
        refiner = TrackRefiner(self.rows.images, pixels, self.options.refinement.refine_rule, os.cpu_count() or 1)
        return refiner.refine(tracks, kept, self.tell, self.stop)

    def _fill(self, part: Path, tracks: Tracks, lists: PairLists, statistics: TrackStatistics, key: str) -> list[str]:
        """Writes images, keypoints, matches and notes on them; returns warnings."""
        new = self._added(self.existing.images if self.mode != "create" else {})
        warnings = import_images(part, new, self.cameras) if new else []
        keypoints = [tracks.of_image(image) for image in range(len(self.rows.images))]
        notes = {
            **self.identity,
            "mode": self.mode,
            "cameras": self._sharing,
            "statistics": statistics.text(),
            "verified": self.verification if self.options.verify else "",
        }
        if self.identity["refine"] != "off":
            notes["largest_error"] = f"{largest_error(self.rows.images):.6f}"
        ids = image_ids(part, self.root, self.rows.images)
        write_points(part, ids, keypoints, self.rows.pairs, lists, self.mode == "replace", notes, key)
        return warnings

    def _added(self, existing: Container[str]) -> dict[str, ImageInfo]:
        """The photos that a database lacks."""
        return {matched.name: self.infos[matched.name] for matched in self.rows.images if matched.name not in existing}

    def _verify(self, part: Path, pairs: set[int]) -> Any:
        """Returns the posed model, if there is one."""
        model = self._model(part)
        self.tell(f"verifying {counted(len(pairs), 'pair')}" + (" by known poses" if model is not None else ""))
        if model is None:
            verify(part, pairs, None, self.tell, self.stop)
        else:
            with cameras_of(model, part):
                verify(part, pairs, model, self.tell, self.stop)
        return model

    def _model(self, part: Path) -> Any:
        return self.poses.for_database(part, self.options.database.name) if self.poses is not None else None

    def _pairs(self, database: Path) -> set[int]:
        """The pair ids of the matched pairs."""
        ids = image_ids(database, self.root, self.rows.images)
        return {pair_id(ids[a], ids[b]) for a, b in self.rows.pairs}

    @property
    def _posed(self) -> Path:
        return self.options.database.with_name(f"{self.options.database.stem}-posed")

    def _write_poses(self, model: Any) -> Path | None:
        if model is None:
            return None
        write_model(model, self._posed)
        return self._posed

    def _keep_poses(self) -> Path | None:
        """The posed model of an earlier run, made again when it is missing."""
        if self.poses is None or self._posed.exists():
            return self._posed if self.poses is not None else None
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "database.db"
            copy_database(self.options.database, copy)
            return self._write_poses(self._model(copy))

    def _warnings(self) -> list[str]:
        notes = []
        total = len(self.rows.images)
        if self.poses is not None and len(self.poses.posed) < total:
            notes.append(
                f"{self.poses.folder}: has poses for {len(self.poses.posed)} of {total} photos; astr verifies pairs "
                "with the others without poses"
            )
        added = [matched.name for matched in self.rows.images if matched.name not in self.existing.images]
        other = other_folder(self.options.database, self.existing.images, added) if added else None
        if self.mode != "create" and other is not None:
            notes.append(other)
        kept = self.mode != "create" and all(matched.name in self.existing.images for matched in self.rows.images)
        if kept and self.options.cameras != CameraOptions():
            notes.append(
                "the database keeps its existing cameras, as the --camera options apply to new images only; use "
                "--mode create to apply them to all images in a new database (the old one is kept as a backup)"
            )
        return notes

    def _key(self) -> str:
        """Identifies this work: the inputs, the options, and the state of the database that it starts from."""
        stamp = self.target.stamp
        text = repr(
            (sorted(self.identity.items()), self.mode, self.cameras, self.options.verify, self.verification, stamp)
        )
        return hashlib.sha256(text.encode()).hexdigest()


def _rigs_text(cameras: CameraOptions) -> str:
    if cameras.rig_config is None:
        return "off"
    model = "" if cameras.rig_model is None else f" {folder_hash(cameras.rig_model)}"
    return f"{content_hash(cameras.rig_config)}{model}"


def _losing_warnings(matches: Path, change: Difference) -> tuple[str, ...]:
    """Warns of photos that only the earlier import matched: this import replaces the earlier one as a whole."""
    lost = change.images_losing
    if not lost:
        return ()
    more = ", ..." if len(lost) > SHOWN else ""
    return (
        f"{counted(len(lost), 'image')} of the database {'loses' if len(lost) == 1 else 'lose'} all matches "
        f"({', '.join(lost[:SHOWN])}{more}): this import replaces the earlier one, and {matches} has no pair with "
        "them; to keep both, match all pairs into one file and import that",
    )
