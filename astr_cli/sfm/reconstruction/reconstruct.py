"""`reconstruct`: photos to a model. A later call with the same options reuses the finished work of an earlier one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from astr_cli.files import check_output_folder
from astr_cli.images.drawing import DrawingFolder
from astr_cli.images.gimbal import turned_photos
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.matching.run.events import Event, Listener, Notice
from astr_cli.matching.run.forecast import forecast
from astr_cli.matching.run.match import match_pairs
from astr_cli.options.config_file import config_text
from astr_cli.options.database import ImportOptions
from astr_cli.options.mapping import MapOptions
from astr_cli.options.matching import MatchOptions
from astr_cli.options.option import take
from astr_cli.options.reconstruct import ReconstructOptions
from astr_cli.options.refinement import RefineOptions
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.atomic import check_target
from astr_cli.sfm.database.importing import import_matches
from astr_cli.sfm.database.inputs import content_hash, find_matched_masks
from astr_cli.sfm.database.sharing import check_camera_options
from astr_cli.sfm.mapping.control_points import read_control
from astr_cli.sfm.mapping.mapper import ModelSummary, map_database
from astr_cli.sfm.mapping.model_refinement import ModelRefiner
from astr_cli.sfm.mapping.pair_agreement import pair_figures
from astr_cli.sfm.pairs.automatic import Source, write_choice
from astr_cli.sfm.reconstruction.folder import (
    CONFIG,
    CONFIG_HEAD,
    SUMMARY,
    nothing_left,
    own_folder,
    require_own,
    write,
)
from astr_cli.sfm.reconstruction.pair_plots import draw_verified
from astr_cli.sfm.reconstruction.photos import Photos, usable_photos
from astr_cli.sfm.reconstruction.stages import Stages
from astr_cli.sfm.reconstruction.summary import ReconstructSummary, read_model_record, summary_text
from astr_cli.sfm.tracks.match_rows import StoredRows
from astr_cli.sfm.tracks.refinement import PhotoPixels
from astr_cli.store.matches_file import MatchesFile
from astr_cli.wording import counted, duration_text

MANY_PAIRS = 400  # from then on, a sample costs little beside the run
SAMPLE = 4  # pairs
ASKED = 100  # photos whose angles are read, evenly spaced; the header of each costs a millisecond
HEADER = 100  # bytes at the start of an SQLite file; COLMAP changes the counter in them whenever it opens one


def match_options(options: ReconstructOptions) -> MatchOptions:
    """The matching options, with the paths of a reconstruction's files in OUT."""
    out = options.out
    return take(
        MatchOptions,
        options.matching,
        pairs=out / "pairs.txt",
        out=out / "matches.h5",
        images=options.photos,
        skip_bad=options.skip_bad,
        overwrite=options.overwrite,
        prune=True,
    )


def reconstruct(
    options: ReconstructOptions,
    listener: Listener,
    tell: Callable[[str], None] = lambda line: None,
    matched: Callable[[], None] = lambda: None,
    stop: StopFlag | None = None,
) -> ReconstructSummary:
    """Chooses pairs of the photos of a folder, matches them, makes a database and maps it, all in `options.out`:
    pairs.txt, matches.h5, database.db, options.toml, sparse/0, sparse/1, ... (largest first) and summary.json.

    The same call resumes where an earlier one stopped, and repeats nothing that is done: pairs and matches are kept,
    verification continues, and a model stays if the same database was mapped in the same way.

    `listener` gets the events of matching, and `matched` is called after the last one; `tell` gets a line per longer
    step, and `stop` is looked at between steps. Raises Interrupted, or AstrError: too few photos, a database in `out`
    that astr did not write, and all that the steps raise.
    """
    check_camera_options(options.cameras)
    if options.mapping.gcp is not None:
        read_control(options.mapping.gcp, options.mapping.gcp_check)
    check_output_folder(options.out)
    photos = usable_photos(options)
    require_own(options)
    drawings = None if options.plots is None else DrawingFolder(options.plots)
    with own_folder(options):
        return _steps(options, photos, drawings, listener, tell, matched, stop or StopFlag())


def _steps(
    options: ReconstructOptions,
    photos: Photos,
    drawings: DrawingFolder | None,
    listener: Listener,
    tell: Callable[[str], None],
    matched: Callable[[], None],
    stop: StopFlag,
) -> ReconstructSummary:
    matching, database = match_options(options), options.out / "database.db"
    told: set[str] = set()

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            told.add(event.text)
        listener(event)

    stages = Stages(options.out, tell)
    with nothing_left(options):
        stages.begin("choosing pairs")
        check_target(database, replace_ours=True)
        source = Source(options.photos, photos.names, options.matching.weights, options.matching.device)
        pairs = write_choice(matching.pairs, source, options.choice, tell)
        write(options.out / CONFIG, config_text(options, options.out, f"{CONFIG_HEAD} --config {CONFIG}"))
        stop.check()
        _tell_turned(options, photos.names, tell)
        _tell_cost(matching, len(pairs.pairs), tell)
        stages.begin("matching")
        found = match_pairs(matching, listen)
    stop.check()
    matched()
    stages.begin("tracks and verification", "photos and matches")
    importing = ImportOptions(
        database,
        (matching.out,),
        options.photos,
        cameras=options.cameras,
        tracks=options.tracks,
        refinement=options.refinement.of_tracks,
        replace_ours=True,
    )
    imported = import_matches(importing, tell, stop)
    imported = replace(imported, warnings=tuple(line for line in imported.warnings if line not in told))
    stop.check()
    if drawings is not None:
        draw_verified(database, options.photos, drawings)
    stages.begin("mapping", "tracks and verified pairs")
    model, key = _mapped(options, database, imported.images, photos.given, tell, stop)
    figures = pair_figures(database, model.folder)
    file = options.out / SUMMARY
    summary = ReconstructSummary(pairs, found, imported, model, figures, photos.skipped, file)
    write(file, summary_text(summary, key))
    stages.end()
    return summary


def _tell_turned(options: ReconstructOptions, names: Sequence[str], tell: Callable[[str], None]) -> None:
    """Before matching: strips of a flight in opposite directions need --rotate auto."""
    if options.matching.rotate == "auto":
        return
    sample = names[:: max(1, len(names) // ASKED)]
    turned = turned_photos(options.photos / name for name in sample)
    if turned:
        tell(
            f"{turned} of {counted(len(sample), 'photo')} that look down are turned by more than 90 degrees from the "
            "others, as in strips flown in opposite directions; use --rotate auto, or they may not match"
        )


def _tell_cost(matching: MatchOptions, pairs: int, tell: Callable[[str], None]) -> None:
    """Before many pairs are matched: how long that takes, by a sample of them."""
    started = matching.out.exists() or matching.out.with_name(f"{matching.out.name}.journal").exists()
    if pairs < MANY_PAIRS or started:
        return
    found = forecast(matching, SAMPLE)
    if found.seconds is not None and found.seconds_a_pair is not None:
        tell(
            f"{counted(pairs, 'pair')} to match: about {duration_text(found.seconds)} on this computer "
            f"({found.seconds_a_pair:.2g} s per pair)"
        )


def _mapped(
    options: ReconstructOptions,
    database: Path,
    images: int,
    given: frozenset[str],
    tell: Callable[[str], None],
    stop: StopFlag,
) -> tuple[ModelSummary, str]:
    """The model, from now or from an earlier call, and the key that identifies it."""
    by_model = options.refinement if options.refinement.refine == "model" else None
    choose = options.cameras.chooses
    key = _mapping_key(database, options.mapping, by_model, choose)
    model = read_model_record(options.out / SUMMARY, key, options.sparse / "0")
    if model is not None:
        tell(f"{model.folder}: up to date, not mapped again")
        return model, key
    tell(f"mapping {counted(images, 'image')}")
    refiner = None if by_model is None else _refiner(match_options(options).out, options.photos, by_model, tell)
    model = map_database(database, options.photos, options.sparse, options.mapping, tell, stop, refiner, given, choose)
    return model, key


def _refiner(matches: Path, photos: Path, options: RefineOptions, tell: Callable[[str], None]) -> ModelRefiner:
    """Refines on the pixels that the matcher saw: masked ones never count."""
    with MatchesFile(matches) as file, closing(StoredRows(file)) as rows:
        images = rows.images
        masks, warning = find_matched_masks(matches, rows.attributes)
    if warning is not None:
        tell(warning)
    return ModelRefiner(images, PhotoPixels(photos, images, masks), options.refine_rule, os.cpu_count() or 1)


def _mapping_key(database: Path, options: MapOptions, by_model: RefineOptions | None, choose: bool) -> str:
    """Identifies the result of mapping this database with these options; by_model: None without that refinement."""
    control = "" if options.gcp is None else content_hash(options.gcp)
    text = f"{content_hash(database, HEADER)} {control} {options!r} {by_model!r} {choose} {pycolmap.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()
