"""`export_matches`: the whole of `astr export`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from astr_cli.errors import AstrError
from astr_cli.files import check_output_folder, parse_json, read_own, real_path, write_whole
from astr_cli.matching.resources.signals import StopFlag
from astr_cli.options.files import ExportOptions
from astr_cli.sfm.database.inputs import content_hash
from astr_cli.sfm.exports.formats import FORMATS
from astr_cli.sfm.exports.shared_keypoints import read_tracked
from astr_cli.sfm.scratch import Stamp, left_over, scratch_folder, stamp_of
from astr_cli.store.errors import disk_full, is_full

PURPOSE = "export"
NOTES = "files.json"
RECORD = ".astr-export.json"  # in OUT: the hash of each file that astr wrote there


@dataclass(frozen=True)
class ExportSummary:
    """The result of an export."""

    out: Path
    format: str
    files: tuple[str, ...]
    """Relative to `out`, sorted."""
    images_root: Path
    images: int
    keypoints: int
    pairs: int
    matches: int


def export_matches(options: ExportOptions, stop: StopFlag | None = None) -> ExportSummary:
    """Joins matches.h5 to tracks and writes them into a folder; either all files are written, or none.

    Raises AstrError: unknown format, bad matches, names that the format cannot hold, existing files;
    Stopped: disk full; Interrupted when `stop` is set.
    """
    stop = stop or StopFlag()
    if options.format not in FORMATS:
        raise AstrError(f"--format {options.format}: choose one of {', '.join(FORMATS)}, or a format of a model folder")
    check_output_folder(options.out)
    tracked = read_tracked(options.matches, options.tracks)
    root = options.images or _stored_root(options.matches, tracked.images_root)
    files = write_files(options, lambda made: FORMATS[options.format].write(tracked, made, root), stop)
    return ExportSummary(
        out=options.out,
        format=options.format,
        files=tuple(file.as_posix() for file in files),
        images_root=root,
        images=len(tracked.images),
        keypoints=sum(map(len, tracked.keypoints)),
        pairs=len(tracked.pairs),
        matches=sum(map(len, tracked.matches)),
    )


def write_files(options: ExportOptions, fill: Callable[[Path], None], stop: StopFlag) -> list[Path]:
    """Moves the files that `fill` writes into a folder to `options.out`: all of them, or none; relative, sorted.

    Raises AstrError: existing files; Stopped: disk full; Interrupted when `stop` is set.
    """
    stop.check()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        with scratch_folder(options.out, PURPOSE) as scratch:
            made = scratch / "files"
            made.mkdir()
            fill(made)
            files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
            _check_targets(options, files)
            stop.check()
            _note(scratch, made, files)
            hashes = {file.as_posix(): content_hash(made / file) for file in files}
            for file in files:
                (options.out / file).parent.mkdir(parents=True, exist_ok=True)
                (made / file).replace(options.out / file)
            write_whole(options.out / RECORD, json.dumps({**_recorded(options.out), **hashes}, indent=1))
    except OSError as error:
        if is_full(error):
            raise disk_full(str(options.out)) from None
        raise AstrError(f"{options.out}: cannot be written ({error.strerror or error}); choose another --out") from None
    return files


def _check_targets(options: ExportOptions, files: list[Path]) -> None:
    ours, recorded = _noted(options.out), _recorded(options.out)
    for file in files:
        target = options.out / file
        linked = next((folder for folder in file.parents if (options.out / folder).is_symlink()), Path())
        if linked != Path():
            raise AstrError(f"{options.out / linked}: is a link, which astr does not follow; remove it")
        if target.is_dir():
            raise AstrError(f"{target}: is a folder; choose another --out")
        if target.exists() and target.resolve() == options.matches.resolve():
            raise AstrError(f"{options.matches}: the export would overwrite this file; choose another --out")
        if not target.exists() or stamp_of(target) in ours:
            continue
        if not options.overwrite:
            raise AstrError(f"{target}: already exists; replace it with --overwrite")
        if recorded.get(file.as_posix()) != content_hash(target):
            raise AstrError(
                f"{target}: was not written by astr export, or was changed since, so astr keeps it; remove it or "
                "choose another --out"
            )


def _recorded(out: Path) -> Mapping[str, object]:
    """The hash of each file that earlier exports wrote, by its name in `out`; empty without a record."""
    with suppress(FileNotFoundError, ValueError):
        found = parse_json(read_own(out / RECORD))
        return found if isinstance(found, dict) else {}
    return {}


def _note(scratch: Path, made: Path, files: list[Path]) -> None:
    """Notes which files are about to move to their places: a killed run's are replaced without --overwrite."""
    part = scratch / "part.json"
    part.write_text(json.dumps([stamp_of(made / file) for file in files]), encoding="utf-8")
    part.replace(scratch / NOTES)


def _noted(out: Path) -> set[Stamp]:
    """The files that killed runs made."""
    found: set[Stamp] = set()
    for left in left_over(out, f".{PURPOSE}-"):
        with suppress(OSError, ValueError, TypeError):
            found |= {Stamp(*stamp) for stamp in parse_json((left / NOTES).read_bytes())}
    return found


def _stored_root(matches: Path, stored: str) -> Path:
    """The image root as seen from the matches file where there is such a folder, else from the current folder."""
    beside = real_path(matches).parent / stored
    return beside if beside.is_dir() else Path(stored)
