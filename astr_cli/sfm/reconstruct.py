"""`reconstruct`: photos to a model. A later call with the same options reuses the finished work of an earlier one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.images.catalogue import catalogue, find_images
from astr_cli.matching.resources.compute import MatchOptions
from astr_cli.matching.run.events import Listener, MatchSummary
from astr_cli.matching.run.match import match_pairs
from astr_cli.sfm.colmap import pycolmap
from astr_cli.sfm.database.atomic import check_target
from astr_cli.sfm.database.cameras import CameraOptions
from astr_cli.sfm.database.importing import ImportOptions, ImportSummary, import_matches
from astr_cli.sfm.database.inputs import content_hash
from astr_cli.sfm.mapping.camera_changes import CameraFigures
from astr_cli.sfm.mapping.georeference import Georeference
from astr_cli.sfm.mapping.mapper import MapOptions, ModelSummary, map_database
from astr_cli.sfm.mapping.pair_agreement import PairFigures, doubtful_pairs, pair_figures
from astr_cli.sfm.pairs.automatic import Chosen, Source, write_choice
from astr_cli.wording import counted

FEWEST_PHOTOS = 3
HEADER = 100  # bytes at the start of an SQLite file; COLMAP changes the counter in them whenever it opens one


@dataclass(frozen=True)
class ReconstructOptions:
    """The options of `astr reconstruct`."""

    photos: Path
    """The folder of the photos."""
    out: Path
    """The folder for all results."""
    matching: MatchOptions
    """As from `reconstruct_files`, with any further matching options."""
    cameras: CameraOptions = field(default_factory=CameraOptions)
    """Which photos share a camera, and its camera model."""
    mapping: MapOptions = field(default_factory=MapOptions)
    """Mapper and refinement."""
    pairs: str = "auto"
    """One of automatic.METHODS, or the path of a pairs file."""

    @property
    def sparse(self) -> Path:
        """Where the models 0, 1, ... go: OUT/sparse, where other programs look for them; OUT if that is its name."""
        return self.out if self.out.resolve().name == "sparse" else self.out / "sparse"


@dataclass(frozen=True)
class ReconstructSummary:
    """The results of the steps."""

    pairs: Chosen
    matching: MatchSummary
    database: ImportSummary
    model: ModelSummary
    figures: tuple[PairFigures, ...]
    """Every pair with matches."""
    skipped: tuple[str, ...]
    """The reasons why photos were left out as unusable, one line each."""
    file: Path
    """The summary as JSON."""


def reconstruct_files(out: Path) -> MatchOptions:
    """The options of a reconstruction's matching, with the files that it keeps in `out`, for the photos there are."""
    return MatchOptions(pairs=out / "pairs.txt", out=out / "matches.h5", prune=True)


def reconstruct(
    options: ReconstructOptions,
    listener: Listener,
    tell: Callable[[str], None] = lambda line: None,
    matched: Callable[[], None] = lambda: None,
) -> ReconstructSummary:
    """Chooses pairs of the photos of a folder, matches them, makes a database and maps it, all in `options.out`:
    pairs.txt, matches.h5, database.db, sparse/0, sparse/1, ... (largest first) and summary.json.

    The same call resumes where an earlier one stopped and repeats nothing: it reuses pairs and matches,
    continues verification, and keeps a model mapped from the same database with the same options.

    `listener` gets the events of matching, and `matched` is called after the last one; `tell` gets a line per longer
    step. Raises AstrError: too few photos, a database in `out` that is not astr's, and the errors of the steps.
    """
    photos, out = options.photos, options.out
    names, skipped = _photos(photos, out, options.matching.skip_bad)
    database = out / "database.db"
    with _nothing_left(options):
        _make_folder(options.sparse)
        check_target(database, replace_ours=True)
        source = Source(photos, names, options.matching.weights, options.matching.device)
        pairs = write_choice(options.matching.pairs, source, options.pairs, tell)
        matching = match_pairs(replace(options.matching, images=photos), listener)
    matched()
    imported = import_matches(ImportOptions(database, matching.out, photos, options.cameras, replace_ours=True), tell)
    file = out / "summary.json"
    key = _mapping_key(database, options.mapping)
    model = read_model_record(file, key, options.sparse / "0")
    if model is None:
        tell(f"mapping {imported.images} images")
        model = map_database(database, photos, options.sparse, options.mapping, tell)
    else:
        tell(f"{model.folder}: up to date, not mapped again")
    figures = pair_figures(database, model.folder)
    summary = ReconstructSummary(pairs, matching, imported, model, figures, skipped, file)
    _write(file, summary_text(summary, key))
    return summary


def _mapping_key(database: Path, options: MapOptions) -> str:
    """Identifies the result of mapping this database with these options."""
    text = f"{content_hash(database, HEADER)} {options!r} {pycolmap.__version__}"
    return hashlib.sha256(text.encode()).hexdigest()


def _photos(photos: Path, out: Path, skip_bad: bool) -> tuple[list[str], tuple[str, ...]]:
    """The usable photos of the folder, without files in `out` (undistorted copies of an earlier run), and the problems
    of the others.
    """
    inside = out.resolve()
    names = [name for name in find_images(photos) if inside not in (photos / name).resolve().parents]
    found = catalogue(photos, names)
    if found.errors and not skip_bad:
        raise AstrError(f"{photos}: {found.complaint()}; use --skip-bad to continue without bad photos")
    good = list(found.infos)
    if len(good) < FEWEST_PHOTOS:
        raise AstrError(
            f"{photos}: {counted(len(good), 'photo')} {'is' if len(good) == 1 else 'are'} too few for a model; "
            f"use at least {FEWEST_PHOTOS}"
        )
    return good, tuple(found.errors.values())


@contextmanager
def _nothing_left(options: ReconstructOptions) -> Iterator[None]:
    """Removes the files of the block if it refuses to start."""
    pairs = options.matching.pairs
    before = pairs.read_bytes() if pairs.is_file() else None
    made = [folder for folder in (options.sparse, *options.sparse.parents) if not folder.exists()]
    try:
        yield
    except AstrError as error:
        if error.exit_code == AstrError.exit_code:
            if before is not None:
                pairs.write_bytes(before)
            elif pairs.is_file():
                pairs.unlink()
            with suppress(OSError):  # the folder contains other files
                for folder in made:
                    folder.rmdir()
        raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AstrError(f"{folder}: the folder cannot be created ({error.strerror}); choose another --out") from None


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        raise AstrError(f"{path}: cannot be written ({error.strerror}); free some space and run it again") from None


FORMAT = 1


def plain(record: Mapping[str, object]) -> dict[str, object]:
    """The record with paths as text and named tuples as objects, ready for JSON."""
    return {name: _json_value(value) for name, value in record.items()}


def database_record(summary: ImportSummary) -> dict[str, object]:
    """An import's summary."""
    return {**plain(asdict(summary)), "two_view_share": summary.two_view_share}


def pair_record(pair: PairFigures) -> dict[str, object]:
    """One pair of images."""
    return {**pair._asdict(), "ratio": pair.ratio, "doubtful": pair.doubtful}


def summary_text(summary: ReconstructSummary, mapping_key: str) -> str:
    """The text of summary.json. mapping_key: the key for `read_model_record`."""
    matching = plain(asdict(summary.matching))
    record = {
        "format": FORMAT,
        "pairs": {"method": summary.pairs.method, "pairs": len(summary.pairs.pairs)},
        "skipped": list(summary.skipped),
        "matching": {name: matching[name] for name in ("out", "pairs", "images", "failed")},
        "database": database_record(summary.database),
        "mapping_key": mapping_key,
        "model": plain(asdict(summary.model)),
        "doubtful": [[pair.name0, pair.name1] for pair in doubtful_pairs(summary.figures)],
        "image_pairs": [pair_record(pair) for pair in summary.figures],
    }
    return json.dumps(record, ensure_ascii=False, indent=1) + "\n"


def read_model_record(file: Path, mapping_key: str, folder: Path) -> ModelSummary | None:
    """The model of an earlier call with that key, if it is still in `folder`; None without one."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["format"] != FORMAT or record["mapping_key"] != mapping_key:
            return None
        model = record["model"]
        place = model["georeference"]
        found = ModelSummary(
            folder=folder,
            images=int(model["images"]),
            registered=tuple(model["registered"]),
            missing=tuple(model["missing"]),
            points=int(model["points"]),
            mean_track=float(model["mean_track"]),
            reprojection_error=float(model["reprojection_error"]),
            models=int(model["models"]),
            georeference=Georeference(**place) if place is not None else None,
            cameras=tuple(CameraFigures(**camera) for camera in model["cameras"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all((folder.parent / str(number) / "points3D.bin").is_file() for number in range(found.models))
    return found if whole else None


def _json_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple) and not hasattr(value, "_asdict"):
        return [_json_value(each) for each in value]
    return plain(value._asdict()) if hasattr(value, "_asdict") else value
